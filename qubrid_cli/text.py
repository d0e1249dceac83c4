"""Text for people and for sorting: control characters, JSON, sizes, secrets, natural order. Pure."""

import functools
import re
from collections.abc import Iterable, Mapping
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from .operating_system import IS_WINDOWS

if TYPE_CHECKING:
    from json import JSONEncoder

#: Characters that affect a terminal instead of being shown: C0, DEL, C1, line and paragraph separators, the bidirectional
#: overrides, and halves of surrogate pairs (in which Python keeps file names that are not UTF-8).
_UNPRINTABLE_PATTERN = "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
#: The same, except for tabs, line feeds, line and paragraph separators, and halves of surrogate pairs.
_STRIPPED_PATTERN = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
#: DEL and C1: allowed in JSON strings, but terminals interpret them.
_CONTROL_PATTERN = "[\x7f-\x9f]"
_STRIPPED_ASCII = dict.fromkeys([*range(9), *range(11, 32), 127])
_NUMBER_PATTERN = re.compile("0*([0-9]+)")
#: Parts of the names of headers, and of other fields, that probably hold a secret.
_PRIVATE_HEADER_PATTERN = "auth|cookie|credential|key|passw|secret|session|signature|token"
#: Characters. A shorter secret is not replaced inside words.
_MIN_SECRET_LENGTH = 8
_ABOUT_KEYS_PATTERN = r"\bkeys?\b|\btoken\b|bearer|auth|credential|passw|secret"
#: The last four characters of a shorter key would reveal too much of it.
_MIN_KEY_LENGTH = 12


def escape_control_characters(text: str) -> str:
    r"""Turn text from a file name, a server or an argument into one printable line: ESC becomes ``\x1b``."""
    return text if text.isprintable() else re.sub(_UNPRINTABLE_PATTERN, lambda match: ascii(match[0])[1:-1], text)


def strip_control_characters(text: str) -> str:
    """Remove control characters, and with them all escape sequences; line breaks and tabs stay.

    The bidirectional overrides, embeddings and isolates go too: they can show text in another order than it has.
    """
    if text.isascii():
        return text.translate(_STRIPPED_ASCII)
    return re.sub(_STRIPPED_PATTERN, "", text)  # ten times as fast as translate, unless all of the text is ASCII


def json_text(value: object, *, indent: int | None = None) -> str:
    r"""Encode as JSON, on one line unless indented, without characters that a terminal interprets.

    The bytes of a file name that are not UTF-8 become ``\udc80`` to ``\udcff``.
    """
    text = _make_encoder(indent).encode(value)
    text = re.sub(_CONTROL_PATTERN, lambda match: f"\\u{ord(match[0]):04x}", text)
    return text.encode(errors="backslashreplace").decode()


@functools.cache  # json.dumps would make one for each call
def _make_encoder(indent: int | None) -> "JSONEncoder":
    from json import JSONEncoder  # takes 2 ms to load, and the help needs none

    return JSONEncoder(ensure_ascii=False, indent=indent, separators=None if indent else (",", ":"))


def is_blank(text: str) -> bool:
    """Whether a text shows nothing, because it has only whitespace and characters of no width."""
    return not text.strip("\u200b\u200c\u200d\u2060\ufeff \t\n\r\v\f") or not text.strip()


def natural_key(name: str) -> str:
    """Return a sort key that puts ``2.jpg`` before ``10.jpg``: each number in the name is preceded by its length."""
    return _NUMBER_PATTERN.sub(lambda match: f"\0{chr(1 + len(match[1]))}{match[1]}", name)


def find_encoding(data: bytes) -> str:
    """The encoding that a byte order mark at the beginning of a text names, else UTF-8; decoding drops the mark.

    PowerShell 5 writes UTF-16 with ``>``, and Windows programs often begin UTF-8 with a byte order mark.
    """
    return "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"


def decode_text(data: bytes) -> str:
    """Decode a user's text file.

    Raises:
        UnicodeDecodeError: it is neither UTF-8 nor UTF-16 with a byte order mark.
    """
    return data.decode(find_encoding(data))


def quote_name(name: str | PathLike[str], *, is_windows: bool = IS_WINDOWS) -> str:
    """Quote a name for a message and for a command that is pasted into a shell, if it needs quotes.

    On Windows the quotes are double: ``cmd`` has no others, and PowerShell understands them as well.

    Source: for Windows, "Parsing C command-line arguments" in Microsoft's C language reference.
    """
    name = fspath(name)
    if is_windows:
        if re.fullmatch(r"[\w+=:./\\~-]+", name):
            return name
        return '"' + re.sub(r'(\\*)("|\Z)', lambda match: match[1] * 2 + match[2].replace('"', '\\"'), name) + '"'
    if re.fullmatch(r"[\w@%+=:,./~-][\w@%+=:,./~#-]*", name):
        return name
    quote = "'" if re.search(r'["$`\\!]', name) else '"'
    return quote + (name.replace("'", "'\\''") if quote == "'" else name) + quote


def suggest(name: str, names: Iterable[str], *, cutoff: float = 0.7) -> str:
    """The end of a message about an unknown name: ``; did you mean tags?``, or nothing if no name is similar.

    A name with the same letters in another order is always similar.

    Args:
        names: the names that exist.
        cutoff: how similar the suggested name must be, from 0 to 1.
    """
    from difflib import get_close_matches

    key = name.lower()
    names_by_key = {valid_name.lower(): valid_name for valid_name in names}
    keys = get_close_matches(key, names_by_key, 1, cutoff)
    keys = keys or [other for other in names_by_key if sorted(other) == sorted(key)]  # atl is only 0.67 like alt
    return f"; did you mean {names_by_key[keys[0]]}?" if keys else ""


def format_size(size: int) -> str:
    """Format bytes in powers of ten: ``214 KB``, ``4.1 MB``."""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1000:.0f} KB" if size < 999_500 else f"{size / 1e6:.1f} MB"


def format_count(number: int, noun: str, plural: str | None = None) -> str:
    """A number and what is counted: ``1 image``, ``2,000 images``.

    Args:
        noun: the singular, perhaps with a verb: ``image was``.
        plural: by default ``noun`` with an ``s``.
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def shorten(text: str, length: int) -> str:
    """Shorten a text to ``length`` characters, the last of which is an ellipsis, if it is longer."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def is_secret_header(header: str) -> bool:
    """Whether a header with this name probably holds a secret."""
    return re.search(_PRIVATE_HEADER_PATTERN, header.lower()) is not None


def is_secret_parameter(name: str) -> bool:
    """Whether a parameter of a URL's query with this name probably holds a secret; Azure's are ``sig`` and ``code``."""
    return is_secret_header(name) or name.lower() in {"code", "sig"}


def mask_fields(value: Any, name: str = "") -> Any:
    """Replace each text in a JSON value whose field is named like a secret header, so that the rest can be shown.

    Args:
        name: the field that holds the value; the items of a list have the name of the list.
    """
    match value:
        case Mapping():
            return {key: mask_fields(inner, key) for key, inner in value.items()}
        case list():
            return [mask_fields(item, name) for item in value]
        case str() if is_secret_header(name):
            return "(hidden)"
    return value


def redact_secrets(text: str, secrets: Iterable[str], replacement: str = "[key]") -> str:
    """Replace secrets that a server echoed; the longest first, because one may contain another.

    A short secret, such as the key ``x`` of a local server, may also be an ordinary word or a part of one. It is replaced
    where it stands as a value, and, in a text about keys, wherever it is a whole word.
    """
    present = [secret for secret in secrets if secret and secret in text]
    for secret in sorted(present, key=len, reverse=True):
        if len(secret) >= _MIN_SECRET_LENGTH:
            text = text.replace(secret, replacement)
        elif secret in text:
            word = rf"(?<![\w-]){re.escape(secret)}(?![\w-])"
            is_about_keys = re.search(_ABOUT_KEYS_PATTERN, text, re.IGNORECASE)
            pattern = (
                word if is_about_keys else rf"(?:(?<=\A)|(?<=[\"'`=:(\[<])|(?<=[=:] )){word}(?=\Z|[\s\"'`)\]>,;.&])"
            )
            text = re.sub(pattern, lambda _: replacement, text)
    return text


def mask_key(key: str) -> str:
    """Keep only the last four characters of a key, by which its owner can recognize it; none of a short one."""
    return f"…{key[-4:]}" if len(key) >= _MIN_KEY_LENGTH else "…"
