"""Lists of models: what a server's says, the one that is built in, and those that were kept for completion."""

import hashlib
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import EndpointError
from .profiles import QUBRID
from .replacement import replace

#: The vision models that Qubrid's documentation names in full, and the month in which it was read.
BUILT_IN = (
    "Qwen/Qwen3-VL-Plus",
    "Qwen/Qwen3-VL-Flash",
    "Qwen/Qwen3-VL-8B-Instruct",
    "Qwen/Qwen3-VL-30B-A3B-Instruct",
    "Qwen/Qwen3-VL-235B-A22B-Instruct",
)
DATED = "2026-11"
#: Bytes of a server's list; the longest known, OpenRouter's, has about half a million.
MAX_SIZE = 16_000_000
#: Models and characters of a name that are kept for completion, and bytes of such a file.
_MAX_KEPT = 2000
_MAX_NAME = 200
_MAX_FILE = 1_000_000
_SCHEMA_VERSION = 1


def built_in(base_url: str) -> tuple[str, ...]:
    """What is known of an address without asking it: nothing, but for Qubrid's own."""
    return BUILT_IN if base_url == QUBRID else ()


def ids(found: Any, host: str) -> tuple[str, ...]:
    """The ids in a list of models, in the server's order and each once; what has none is passed over.

    Args:
        found: OpenAI's object with ``data``, which is null where a server has none, or the bare array (Together).

    Raises:
        EndpointError: it is no list of models.
    """
    models = found.get("data") if isinstance(found, dict) and "data" in found else found
    if models is None and isinstance(found, dict):
        return ()
    if not isinstance(models, list):
        raise EndpointError(
            f"{host} answered with something else than a list of models",
            hint="Check --base-url: it usually ends in /v1.",
            code="no_list",
        )
    names = [model["id"] for model in models if isinstance(model, dict) and isinstance(model.get("id"), str)]
    return tuple(dict.fromkeys(name for name in names if name.strip()))


def keep(folder: Path, base_url: str, models: Iterable[str]) -> None:
    """Keep a list for completion, which asks nobody; where that cannot be done, there is none."""
    kept = [name for name in models if len(name) <= _MAX_NAME and re.fullmatch(r"[\x21-\x7e]+", name)][:_MAX_KEPT]
    found = {"schema_version": _SCHEMA_VERSION, "base_url": base_url, "models": kept}
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace(_file(folder, base_url), json.dumps(found).encode(), mode=0o600)


def kept(folder: Path, base_url: str) -> tuple[str, ...]:
    """The list that was kept, or what is known without; a file that is damaged counts as none."""
    try:
        with open(_file(folder, base_url), "rb") as file:
            found = json.loads(file.read(_MAX_FILE))
    except (OSError, ValueError, RecursionError):
        return built_in(base_url)
    match found:
        case {"schema_version": 1, "base_url": str(address), "models": list(models)} if address == base_url:
            return tuple(name for name in models if isinstance(name, str) and re.fullmatch(r"[\x21-\x7e]+", name))
    return built_in(base_url)


def _file(folder: Path, base_url: str) -> Path:
    return folder / f"models-{hashlib.sha256(base_url.encode()).hexdigest()[:16]}.json"
