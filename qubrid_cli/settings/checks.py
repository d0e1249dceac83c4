"""Check the values of settings: each function returns the value, or raises ``ValueError``.

The message continues a sentence that begins with the name of the setting, such as ``is not a number``.
"""

import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

#: Body fields that have a setting of their own, or that the program fills itself; ``-O`` and ``params`` cannot set them.
RESERVED_BODY_FIELDS = frozenset({"model", "messages", "max_tokens", "temperature", "top_p", "stream"})
#: A header's name (RFC 9110, section 5.6.2), and the headers that the request sets itself.
_HEADER_NAME = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_RESERVED_HEADERS = frozenset(
    {"accept-encoding", "connection", "content-length", "content-type", "host", "te", "trailer", "transfer-encoding"}
)
#: The words for a switch in the environment.
SWITCH_WORDS = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off"), False)

#: CSS's basic colors.
_COLORS = {
    "white": "ffffff", "silver": "c0c0c0", "gray": "808080", "black": "000000", "red": "ff0000", "yellow": "ffff00",
    "lime": "00ff00", "green": "008000", "cyan": "00ffff", "blue": "0000ff", "magenta": "ff00ff",
}  # fmt: skip


def normalize_base_url(text: object) -> str:
    """The canonical form of an endpoint's URL: scheme, host, path without ``/chat/completions``, and query if any."""
    text = check_text(text).strip()
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises on a port that is not a number
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is not an http or https URL")
    if "@" in parts.netloc:
        raise ValueError("must not contain a user name or password")
    if parts.fragment:
        raise ValueError("must not contain #")
    if any(character <= " " or character == "\x7f" for character in text):
        raise ValueError("contains a space or a control character")
    path = parts.path.rstrip("/").removesuffix("/chat/completions").rstrip("/")
    query = urlencode(_parse_query(parts.query))
    return urlunsplit(SplitResult(parts.scheme, parts.netloc.lower(), path, query, ""))


def split_query(url: str) -> tuple[str, dict[str, str]]:
    """A normalized URL without its query, and the parameters of the query."""
    base, _, query = url.partition("?")
    return base, _parse_query(query)


def _parse_query(text: str) -> dict[str, str]:
    pairs = parse_qsl(text, keep_blank_values=True)
    if len(dict(pairs)) < len(pairs):
        raise ValueError("has a query parameter twice")
    return dict(pairs)


def get_origin(url: str) -> str:
    """Scheme, host and port of a URL, without the scheme's default port (RFC 6454). A key belongs to one origin."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = "" if parts.port in {None, {"http": 80, "https": 443}[parts.scheme]} else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def is_profile_name(text: str) -> bool:
    """Whether a text can name a profile, which appears in files, dotted keys and on terminals."""
    return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", text) is not None


def check_text(value: object) -> str:
    """A string that is not blank."""
    if not isinstance(value, str):
        raise ValueError("is not a string")  # noqa: TRY004  # one kind of error for every invalid value
    if not value.strip():
        raise ValueError("is empty")
    return value


def check_profile_name(value: object) -> str:
    """The name of a profile."""
    if not is_profile_name(text := check_text(value)):
        raise ValueError("is not a name of letters, digits, - and _")
    return text


def check_variable_name(value: object) -> str:
    """The name of an environment variable, in upper case only, so that a key pasted here by mistake is refused."""
    if not re.fullmatch("[A-Z_][A-Z0-9_]*", text := check_text(value)):
        raise ValueError("is not the name of a variable in upper case, such as MY_KEY")
    return text


def check_color(value: object) -> str:
    """A color as ``#rgb`` or ``#rrggbb``; names are converted."""
    text = check_text(value).strip().lower()
    text = f"#{_COLORS[text]}" if text in _COLORS else text
    if not re.fullmatch("#([0-9a-f]{3}){1,2}", text):
        raise ValueError(f"is not a color: #rgb, #rrggbb or one of {', '.join(_COLORS)}")
    return text


def check_switch(value: object) -> bool:
    """``True`` or ``False``."""
    if not isinstance(value, bool):
        raise ValueError("is neither true nor false")  # noqa: TRY004  # see check_text
    return value


def check_header_name(value: object) -> str:
    """The name of a header that the request does not set itself."""
    if not re.fullmatch(_HEADER_NAME, name := check_text(value)):
        raise ValueError("is not the name of a header, such as api-key")
    if name.lower() in _RESERVED_HEADERS:
        raise ValueError("is a header that the request sets itself")
    return name


def check_headers(value: object) -> dict[str, str]:
    """Headers by name."""
    if not isinstance(value, Mapping):
        raise ValueError("is not a table of strings")  # noqa: TRY004  # see check_text
    for name, text in value.items():
        if not re.fullmatch(_HEADER_NAME, name):
            raise ValueError(f"contains an invalid header name, {name!r}")
        if name.lower() in _RESERVED_HEADERS:
            raise ValueError(f"contains {name}, which the request sets itself")
        if not isinstance(text, str) or not re.fullmatch(r"[\x20-\x7e]*", text):
            raise ValueError(f"has a value for {name} that is not a string of printable ASCII")
    if len({name.lower() for name in value}) < len(value):
        raise ValueError("contains a header twice")
    return dict(value)


def check_query(value: object) -> dict[str, str]:
    """The parameters of a query by name; numbers and dates, which TOML writes without quotes, become strings."""
    if not isinstance(value, Mapping):
        raise ValueError("is not a table of strings")  # noqa: TRY004  # see check_text
    query = {}
    for name, item in value.items():
        is_number = isinstance(item, int) and not isinstance(item, bool)
        text = str(item) if is_number or hasattr(item, "isoformat") else item
        if not name or not isinstance(text, str) or not text.isprintable():
            raise ValueError(f"has a value for {name!r} that is not a printable string")
        query[name] = text
    return query


def check_body_fields(value: object) -> dict[str, Any]:
    """Fields of the request's body by name, with values that JSON can represent."""
    import json  # loaded with a request anyway, but not for --help

    if not isinstance(value, Mapping):
        raise ValueError("is not a table")  # noqa: TRY004  # see check_text
    for name, item in value.items():
        if name in RESERVED_BODY_FIELDS:
            raise ValueError(f"contains {name}, which cannot be set here")
        try:
            json.dumps(item, allow_nan=False)
        except (TypeError, ValueError):
            raise ValueError(f"has a value for {name} that is not JSON") from None
    return dict(value)


class Choice:
    """Check that a value is one of some words.

    Args:
        words: in lower case; values may have capitals.
        switch: the words for ``true`` and ``false``, if a TOML boolean is accepted too.
    """

    def __init__(self, *words: str, switch: tuple[str, str] | None = None) -> None:
        self.words = words
        self._switch = switch

    def __call__(self, value: object) -> str:
        """The word; raises ``ValueError`` for anything else."""
        if isinstance(value, bool) and self._switch is not None:
            return self._switch[0] if value else self._switch[1]
        word = value.strip().lower() if isinstance(value, str) else None
        if word not in self.words:
            raise ValueError(f"is not one of {', '.join(self.words)}")
        return word


class Range:
    """Check that a value is a finite number within limits, both inclusive."""

    def __init__(self, number_type: type[int] | type[float], minimum: float, maximum: float | None = None) -> None:
        self.type = number_type
        self.minimum = minimum
        self.maximum = maximum

    def __call__(self, value: object) -> int | float:
        """The number.

        Raises:
            ValueError: it is not a number of this type, or outside the limits.
        """
        is_wrong_float = isinstance(value, float) and (self.type is int or not math.isfinite(value))
        if not isinstance(value, int | float) or isinstance(value, bool) or is_wrong_float:
            raise ValueError("is not a whole number" if self.type is int else "is not a number")
        if self.maximum is None and value < self.minimum:
            raise ValueError(f"is below {self.minimum:g}")
        if self.maximum is not None and not self.minimum <= value <= self.maximum:
            raise ValueError(f"is not between {self.minimum:g} and {self.maximum:g}")
        return self.type(value)

    def parse(self, text: str) -> int | float:
        """The number in a text; raises ``ValueError`` like a call."""
        try:
            value: object = self.type(text)
        except ValueError:
            value = text
        return self(value)
