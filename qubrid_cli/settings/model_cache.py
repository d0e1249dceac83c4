"""Model names for completion and ``qvision models``: Qubrid's documented models, and the cached lists of endpoints."""

import hashlib
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ..files import write_atomic
from .fields import QUBRID_URL

#: The vision models that Qubrid's documentation names in full, and the month in which it was read.
BUILT_IN_MODELS = (
    "Qwen/Qwen3-VL-Plus",
    "Qwen/Qwen3-VL-Flash",
    "Qwen/Qwen3-VL-8B-Instruct",
    "Qwen/Qwen3-VL-30B-A3B-Instruct",
    "Qwen/Qwen3-VL-235B-A22B-Instruct",
    "Qwen/Qwen3-VL-235B-A22B-Thinking",
    "Qwen/Qwen3.5-397B-A17B",
    "Qwen/Qwen3.5-122B-A10B",
    "Qwen/Qwen3.5-35B-A3B",
    "Qwen/Qwen3.5-27B",
    "Qwen/Qwen3.5-Flash",
    "moonshotai/Kimi-K2.5",
    "tencent/HunyuanOCR",
)
BUILT_IN_MODELS_DATE = "2026-11"
#: Limits of a cache file: models, characters of a name, and bytes.
_MAX_CACHED_MODELS = 2000
_MAX_MODEL_NAME_LENGTH = 200
_MAX_CACHE_FILE_SIZE = 1_000_000
#: The lowest similarity, from 0 to 1, of a name that is suggested for another one.
_MIN_SIMILARITY = 0.6
#: The fewest characters of a wrong name for which a name that begins with it is suggested.
_MIN_BEGINNING = 6
_MODEL_NAME = re.compile(r"[\x21-\x7e]+")


def get_built_in_models(base_url: str) -> tuple[str, ...]:
    """The built-in models of an endpoint; empty except for Qubrid's own endpoint."""
    return BUILT_IN_MODELS if base_url == QUBRID_URL else ()


def cache_models(folder: Path, base_url: str, models: Iterable[str]) -> None:
    """Store an endpoint's list for completion, which sends no requests; errors of writing are ignored."""
    names = [name for name in models if len(name) <= _MAX_MODEL_NAME_LENGTH and _MODEL_NAME.fullmatch(name)]
    cache = {"schema_version": 1, "base_url": base_url, "models": names[:_MAX_CACHED_MODELS]}
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(_get_cache_path(folder, base_url), json.dumps(cache).encode(), mode=0o600)


def load_cached_models(folder: Path, base_url: str) -> tuple[str, ...]:
    """The cached list of an endpoint; its built-in models if there is no such file, or it is damaged."""
    try:
        with open(_get_cache_path(folder, base_url), "rb") as file:
            cache = json.loads(file.read(_MAX_CACHE_FILE_SIZE))
    except (OSError, ValueError, RecursionError):
        return get_built_in_models(base_url)
    match cache:
        case {"schema_version": 1, "base_url": str(url), "models": list(models)} if url == base_url:
            return tuple(name for name in models if isinstance(name, str) and _MODEL_NAME.fullmatch(name))
    return get_built_in_models(base_url)


def suggest_model(model: str, available: Iterable[str]) -> str | None:
    """The available name that is most similar to one that the endpoint does not have; ``None`` if none is similar.

    The maker, capitals and punctuation hardly count, because they are what people get wrong.
    """
    import difflib

    simple_model = _simplify(model)

    def measure(name: str) -> tuple[float, float]:
        simple_name = _simplify(name)
        is_beginning = len(simple_model) >= _MIN_BEGINNING and simple_name.startswith(simple_model)
        similarity = 1.0 if is_beginning else difflib.SequenceMatcher(None, simple_model, simple_name).ratio()
        return similarity, difflib.SequenceMatcher(None, model, name).ratio()

    best = max((name for name in available if name != model), key=measure, default=None)
    return best if best is not None and measure(best)[0] >= _MIN_SIMILARITY else None


def _simplify(name: str) -> str:
    """Remove the maker, capitals and punctuation from a name."""
    return re.sub("[^a-z0-9]", "", name.rpartition("/")[2].lower())


def _get_cache_path(folder: Path, base_url: str) -> Path:
    return folder / f"models-{hashlib.sha256(base_url.encode()).hexdigest()[:16]}.json"
