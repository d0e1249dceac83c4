"""The settings there are: what each may be, the variable that sets it, the value that it has by itself. Pure."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

from .frozen import frozen
from .profiles import DEFAULT
from .tokens import QWEN3

#: A header's name (RFC 9110, section 5.6.2), and those that make up the request itself.
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OWN_HEADERS = frozenset(
    {"accept-encoding", "connection", "content-length", "content-type", "host", "te", "trailer", "transfer-encoding"}
)


def base_url(text: object) -> str:
    """An endpoint's address in its one form: scheme, host and path, up to and without ``/chat/completions``.

    Raises:
        ValueError: what is wrong with it, as the end of a sentence; so do the other checks.
    """
    text = _text(text).strip()
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises on a port that is no number
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is not an http or https URL")
    if "@" in parts.netloc:
        raise ValueError("may not hold a user or password")
    if parts.query or parts.fragment:
        raise ValueError("may not hold a ? or #")
    if any(character <= " " or character == "\x7f" for character in text):
        raise ValueError("holds a blank or a control character")
    path = parts.path.rstrip("/").removesuffix("/chat/completions").rstrip("/")
    return urlunsplit(SplitResult(parts.scheme, parts.netloc.lower(), path, "", ""))


def origin(url: str) -> str:
    """Scheme, host and port of an address, a port that goes without saying left out: what a key belongs to (RFC 6454)."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = "" if parts.port in {None, {"http": 80, "https": 443}[parts.scheme]} else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def is_profile_name(text: str) -> bool:
    """Whether a profile can be called that: it stands in files, in dotted keys and on terminals."""
    return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", text) is not None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("is not a text")  # noqa: TRY004  # one kind of error for all that a value can be
    if not value.strip():
        raise ValueError("is empty")
    return value


def _word(value: object) -> str:
    if not is_profile_name(text := _text(value)):
        raise ValueError("is no name of letters, digits, - and _")
    return text


def _variable(value: object) -> str:
    # In capitals, as everywhere: so a key that was pasted here, in place of its variable's name, is refused.
    if not re.fullmatch("[A-Z_][A-Z0-9_]*", _text(value)):
        raise ValueError("is not the name of a variable, in capitals such as MY_KEY")
    return _text(value)


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is neither true nor false")  # noqa: TRY004  # see above
    return value


def _switch_word(text: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    try:
        return words[text.strip().lower()]
    except KeyError:
        raise ValueError("is neither 1 nor 0") from None


def _whole(least: int, most: int | None = None) -> Callable[[object], int]:
    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError("is not a whole number")  # noqa: TRY004  # see above
        if value < least or (most is not None and value > most):
            raise ValueError(f"is below {least}" if most is None else f"is not between {least} and {most}")
        return value

    return check


def _number(least: float, most: float | None = None) -> Callable[[object], float]:
    def check(value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise ValueError("is not a number")
        if value < least or (most is not None and value > most):
            raise ValueError(f"is below {least:g}" if most is None else f"is not between {least:g} and {most:g}")
        return float(value)

    return check


amount = _number(0)


def _headers(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError("is not a table of texts")  # noqa: TRY004  # see above
    for name, text in value.items():
        if not _HEADER.fullmatch(name):
            raise ValueError(f"names a header that cannot be one, {name!r}")
        if name.lower() in _OWN_HEADERS:
            raise ValueError(f"names {name}, which the request sets by itself")
        if not isinstance(text, str) or not re.fullmatch(r"[\x20-\x7e]*", text):
            raise ValueError(f"gives {name} a value that is no text of printable ASCII")
    if len({name.lower() for name in value}) < len(value):
        raise ValueError("names a header twice")
    return dict(value)


@frozen
class Field:
    """What a setting may be.

    Attributes:
        check: turns what a file or an option gives into the value, or raises ``ValueError`` with what is wrong with it.
        example: a value that passes.
        default: what it is where nobody says anything; ``None`` where there is nothing then.
        variable: of the environment, where one sets it; ``parse`` reads its text.
        is_global: whether it may stand outside profiles; what has to do with a key belongs to one endpoint alone.
    """

    check: Callable[[Any], Any]
    example: str
    default: Any = None
    variable: str | None = None
    parse: Callable[[str], Any] | None = None
    is_global: bool = True


#: All settings that profiles have, and the file's top level; ``profile`` itself is no part of a profile.
FIELDS: Mapping[str, Field] = {
    "model": Field(_text, "Qwen/Qwen3-VL-Plus", variable="QVISION_MODEL"),
    "base_url": Field(base_url, "http://localhost:11434/v1", variable="QUBRID_BASE_URL"),
    "max_tokens": Field(_whole(1), "2048"),
    "temperature": Field(_number(0), "0.1"),
    "top_p": Field(_number(0, 1), "1"),
    "timeout": Field(_number(0.001, 1e6), "300", 300.0),
    "retries": Field(_whole(0), "4", 4),
    "retry_max_wait": Field(_number(0, 1e6), "60", 60.0),
    "max_time": Field(_number(0.001, 1e6), "600"),
    "allow_http": Field(_switch, "true", default=False),
    "offline": Field(_switch, "true", default=False, variable="QVISION_OFFLINE", parse=_switch_word),
    "prompt": Field(_text, "What is this?"),
    "system": Field(_text, "Be brief."),
    "preset": Field(_text, "caption"),
    "max_pixels": Field(_whole(1024), "1048576", QWEN3.max_pixels),
    "max_side": Field(_whole(32), "1568"),
    "quality": Field(_whole(1, 95), "85"),
    "labels": Field(_switch, "false", default=True),
    "headers": Field(_headers, '{ X-Team = "vision" }', is_global=False),
    "key_env": Field(_variable, "MY_API_KEY", is_global=False),
}
PROFILE = Field(_word, "ollama", DEFAULT, "QVISION_PROFILE")
