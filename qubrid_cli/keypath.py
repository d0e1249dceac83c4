"""Dotted keys of a TOML file: the names they are made of, and what stands under them."""

import tomllib
from collections.abc import Mapping
from typing import Any

from .errors import UsageError


def path_of(key: str) -> list[str]:
    """The names of a dotted key, quoted as TOML wants them.

    Raises:
        UsageError: it is no key.
    """
    try:
        found: Any = tomllib.loads(f"{key} = 0") if "\n" not in key else {}
    except tomllib.TOMLDecodeError:
        found = {}
    names: list[str] = []
    while isinstance(found, dict) and len(found) == 1:
        ((name, found),) = found.items()
        names.append(name)
    if not names or found != 0:
        raise UsageError(
            f"{key} is not a key of a TOML file",
            hint="A name with dots or slashes goes in quotes: 'prices.\"Qwen/Qwen3-VL-8B-Instruct\".input'",
        )
    return names


def looked_up(tables: Mapping[str, Any], names: list[str]) -> Any:
    """What stands under a key; ``None`` where nothing does."""
    found: Any = tables
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
