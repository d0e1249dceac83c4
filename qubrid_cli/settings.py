"""What a run is set to: option over environment over default, each value remembering where it came from."""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

from .errors import ConfigError, printable

#: Qubrid's own endpoint, and the parameters as its documentation gives them.
QUBRID = "https://platform.qubrid.com/v1"


class Origin(enum.Enum):
    """Where a value came from; the text stands in messages."""

    OPTION = "the option"
    ENVIRONMENT = "the environment"
    DEFAULT = "the default"


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one run.

    ``base_url`` has no slash at its end; ``timeout`` is the seconds that may pass without a byte, ``retry_max_wait``
    those before asking again, ``max_time`` those for a whole request (``None`` for no limit).
    """

    model: str
    base_url: str
    max_tokens: int
    temperature: float
    top_p: float
    timeout: float
    retries: int
    retry_max_wait: float
    max_time: float | None
    allow_http: bool
    offline: bool
    origins: Mapping[str, Origin]

    @property
    def is_qubrid(self) -> bool:
        """Whether requests go to Qubrid itself, which wants a key."""
        return self.base_url == QUBRID


def base_url(text: str) -> str:
    """An endpoint's address in its one form: scheme, host and path, up to and without ``/chat/completions``.

    Raises:
        ValueError: what is wrong with it, as the end of a sentence.
    """
    text = text.strip()
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


def _model(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    return text  # sent unchanged: ids are case-sensitive


def _switch(text: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    try:
        return words[text.strip().lower()]
    except KeyError:
        raise ValueError("is neither 1 nor 0") from None


@dataclass(frozen=True, slots=True)
class _Field:
    default: Any
    variable: str | None = None
    check: Callable[[Any], Any] = lambda value: value
    example: str = ""


_FIELDS = {
    "model": _Field("Qwen/Qwen3-VL-Plus", "QVISION_MODEL", _model, "Qwen/Qwen3-VL-Plus"),
    "base_url": _Field(QUBRID, "QUBRID_BASE_URL", base_url, "http://localhost:11434/v1"),
    "max_tokens": _Field(16_384),
    "temperature": _Field(0.1),
    "top_p": _Field(1.0),
    "timeout": _Field(300.0),
    "retries": _Field(4),
    "retry_max_wait": _Field(60.0),
    "max_time": _Field(None),
    "allow_http": _Field(default=False),
    "offline": _Field(default=False, variable="QVISION_OFFLINE", check=_switch, example="1"),
}


def resolve(options: Mapping[str, Any], env: Mapping[str, str]) -> Settings:
    """Settle every setting.

    Args:
        options: values of options by the setting's name; ``None``, or no entry, where the option was not given.
        env: the environment; an empty variable counts as not set.

    Raises:
        ConfigError: a value that cannot be used, with where it stands.
    """
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for field in fields(Settings):
        if field.name != "origins":
            values[field.name], origins[field.name] = _resolve_one(field.name, options, env)
    return Settings(**values, origins=origins)


def _resolve_one(name: str, options: Mapping[str, Any], env: Mapping[str, str]) -> tuple[Any, Origin]:
    field = _FIELDS[name]
    offered = {
        Origin.OPTION: options.get(name),
        Origin.ENVIRONMENT: (env.get(field.variable) or None) if field.variable else None,
    }
    found = [(value, origin) for origin, value in offered.items() if value is not None]
    if not found:
        return field.default, Origin.DEFAULT
    value, origin = found[0]
    if not isinstance(value, str):
        return value, origin
    try:
        return field.check(value), origin
    except ValueError as error:
        where = field.variable if origin is Origin.ENVIRONMENT else f"--{name.replace('_', '-')}"
        message = f"{where} {error}: {printable(_without_password(value))}"
        raise ConfigError(message, hint=f"For example: {field.example}") from error


def _without_password(value: str) -> str:
    _, at, host = value.rpartition("@")
    return f"…@{host}" if at else value
