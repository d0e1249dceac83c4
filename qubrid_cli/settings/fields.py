"""Lists of models: what a server's says, the one that is built in, and those that were kept for completion."""

# MERGED DOCSTRING of qubrid_cli.profiles: The profiles that are built in: where an endpoint is, and what is sent to it when nobody says anything else.

# MERGED DOCSTRING of qubrid_cli.fields: The settings there are: what each may be, the variable that sets it, the value that it has by itself. Pure.

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

from ..files import write_atomic
from ..frozen import frozen
from ..images.tokens import QWEN3

#: Qubrid's own endpoint.
QUBRID_URL = "https://platform.qubrid.com/v1"
DEFAULT_PROFILE = "qubrid"

#: Only Qubrid's documents parameters; 16384 tokens overflow most local context windows, so the others send what was
#: set. The models are small ones that can see, under the name that each server gives them.
BUILT_IN_PROFILES: Mapping[str, Mapping[str, Any]] = {
    DEFAULT_PROFILE: {
        "base_url": QUBRID_URL,
        "model": "Qwen/Qwen3-VL-Plus",
        "max_tokens": 16_384,
        "temperature": 0.1,
        "top_p": 1.0,
        "key_env": "QUBRID_API_KEY",
    },
    "ollama": {"base_url": "http://localhost:11434/v1", "model": "qwen3-vl:8b"},
    "lmstudio": {"base_url": "http://localhost:1234/v1", "model": "qwen/qwen3-vl-8b"},
    "vllm": {"base_url": "http://localhost:8000/v1", "model": "Qwen/Qwen3-VL-8B-Instruct"},
    "openrouter": {
        "base_url": "https://openrouter.ai/api/v1",
        "model": "qwen/qwen3-vl-8b-instruct",
        "key_env": "OPENROUTER_API_KEY",
    },
    "openai": {"base_url": "https://api.openai.com/v1", "model": "gpt-4o-mini", "key_env": "OPENAI_API_KEY"},
}

#: A header's name (RFC 9110, section 5.6.2), and those that make up the request itself.
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_RESERVED_HEADERS = frozenset(
    {"accept-encoding", "connection", "content-length", "content-type", "host", "te", "trailer", "transfer-encoding"}
)


def normalize_base_url(text: object) -> str:
    """An endpoint's address in its one form: scheme, host and path, up to and without ``/chat/completions``.

    Raises:
        ValueError: what is wrong with it, as the end of a sentence; so do the other checks.
    """
    text = _check_text(text).strip()
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


def get_origin(url: str) -> str:
    """Scheme, host and port of an address, a port that goes without saying left out: what a key belongs to (RFC 6454)."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = "" if parts.port in {None, {"http": 80, "https": 443}[parts.scheme]} else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def is_profile_name(text: str) -> bool:
    """Whether a profile can be called that: it stands in files, in dotted keys and on terminals."""
    return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", text) is not None


def _check_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("is not a text")  # noqa: TRY004  # one kind of error for all that a value can be
    if not value.strip():
        raise ValueError("is empty")
    return value


def _check_profile_name(value: object) -> str:
    if not is_profile_name(text := _check_text(value)):
        raise ValueError("is no name of letters, digits, - and _")
    return text


def _check_variable_name(value: object) -> str:
    # In capitals, as everywhere: so a key that was pasted here, in place of its variable's name, is refused.
    if not re.fullmatch("[A-Z_][A-Z0-9_]*", _check_text(value)):
        raise ValueError("is not the name of a variable, in capitals such as MY_KEY")
    return _check_text(value)


def _check_bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is neither true nor false")  # noqa: TRY004  # see above
    return value


def _parse_bool(text: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    try:
        return words[text.strip().lower()]
    except KeyError:
        raise ValueError("is neither 1 nor 0") from None


def _build_integer_check(minimum: int, maximum: int | None = None) -> Callable[[object], int]:
    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError("is not a whole number")  # noqa: TRY004  # see above
        if value < minimum or (maximum is not None and value > maximum):
            raise ValueError(f"is below {minimum}" if maximum is None else f"is not between {minimum} and {maximum}")
        return value

    return check


def _build_number_check(minimum: float, maximum: float | None = None) -> Callable[[object], float]:
    def check(value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise ValueError("is not a number")
        if value < minimum or (maximum is not None and value > maximum):
            raise ValueError(
                f"is below {minimum:g}" if maximum is None else f"is not between {minimum:g} and {maximum:g}"
            )
        return float(value)

    return check


check_amount = _build_number_check(0)


def _check_headers(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError("is not a table of texts")  # noqa: TRY004  # see above
    for name, text in value.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"names a header that cannot be one, {name!r}")
        if name.lower() in _RESERVED_HEADERS:
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
        environment_variable: of the environment, where one sets it; ``parse`` reads its text.
        is_global: whether it may stand outside profiles; what has to do with a key belongs to one endpoint alone.
    """

    check: Callable[[Any], Any]
    example: str
    default: Any = None
    environment_variable: str | None = None
    parse: Callable[[str], Any] | None = None
    is_global: bool = True


#: All settings that profiles have, and the file's top level; ``profile`` itself is no part of a profile.
FIELDS: Mapping[str, Field] = {
    "model": Field(_check_text, "Qwen/Qwen3-VL-Plus", environment_variable="QVISION_MODEL"),
    "base_url": Field(normalize_base_url, "http://localhost:11434/v1", environment_variable="QUBRID_BASE_URL"),
    "max_tokens": Field(_build_integer_check(1), "2048"),
    "temperature": Field(_build_number_check(0), "0.1"),
    "top_p": Field(_build_number_check(0, 1), "1"),
    "timeout": Field(_build_number_check(0.001, 1e6), "300", 300.0),
    "retries": Field(_build_integer_check(0), "4", 4),
    "retry_max_wait": Field(_build_number_check(0, 1e6), "60", 60.0),
    "max_time": Field(_build_number_check(0.001, 1e6), "600"),
    "allow_http": Field(_check_bool, "true", default=False),
    "offline": Field(_check_bool, "true", default=False, environment_variable="QVISION_OFFLINE", parse=_parse_bool),
    "prompt": Field(_check_text, "What is this?"),
    "system": Field(_check_text, "Be brief."),
    "preset": Field(_check_text, "caption"),
    "max_pixels": Field(_build_integer_check(1024), "1048576", QWEN3.max_pixels),
    "max_side": Field(_build_integer_check(32), "1568"),
    "quality": Field(_build_integer_check(1, 95), "85"),
    "labels": Field(_check_bool, "false", default=True),
    "headers": Field(_check_headers, '{ X-Team = "vision" }', is_global=False),
    "key_env": Field(_check_variable_name, "MY_API_KEY", is_global=False),
}
PROFILE_FIELD = Field(_check_profile_name, "ollama", DEFAULT_PROFILE, "QVISION_PROFILE")

#: The vision models that Qubrid's documentation names in full, and the month in which it was read.
BUILT_IN_MODELS = (
    "Qwen/Qwen3-VL-Plus",
    "Qwen/Qwen3-VL-Flash",
    "Qwen/Qwen3-VL-8B-Instruct",
    "Qwen/Qwen3-VL-30B-A3B-Instruct",
    "Qwen/Qwen3-VL-235B-A22B-Instruct",
)
BUILT_IN_MODELS_DATE = "2026-11"
#: Models and characters of a name that are kept for completion, and bytes of such a file.
_MAX_CACHED_MODELS = 2000
_MAX_MODEL_NAME_LENGTH = 200
_MAX_CACHE_FILE_SIZE = 1_000_000
_CACHE_SCHEMA_VERSION = 1


def get_built_in_models(base_url: str) -> tuple[str, ...]:
    """What is known of an address without asking it: nothing, but for Qubrid's own."""
    return BUILT_IN_MODELS if base_url == QUBRID_URL else ()


def cache_models(folder: Path, base_url: str, models: Iterable[str]) -> None:
    """Keep a list for completion, which asks nobody; where that cannot be done, there is none."""
    kept = [name for name in models if len(name) <= _MAX_MODEL_NAME_LENGTH and re.fullmatch(r"[\x21-\x7e]+", name)][
        :_MAX_CACHED_MODELS
    ]
    found = {"schema_version": _CACHE_SCHEMA_VERSION, "base_url": base_url, "models": kept}
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(_get_cache_file(folder, base_url), json.dumps(found).encode(), mode=0o600)


def load_cached_models(folder: Path, base_url: str) -> tuple[str, ...]:
    """The list that was kept, or what is known without; a file that is damaged counts as none."""
    try:
        with open(_get_cache_file(folder, base_url), "rb") as file:
            found = json.loads(file.read(_MAX_CACHE_FILE_SIZE))
    except (OSError, ValueError, RecursionError):
        return get_built_in_models(base_url)
    match found:
        case {"schema_version": 1, "base_url": str(address), "models": list(models)} if address == base_url:
            return tuple(name for name in models if isinstance(name, str) and re.fullmatch(r"[\x21-\x7e]+", name))
    return get_built_in_models(base_url)


def _get_cache_file(folder: Path, base_url: str) -> Path:
    return folder / f"models-{hashlib.sha256(base_url.encode()).hexdigest()[:16]}.json"
