"""Where in a TOML text a key stands. Pure."""

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

#: Lines that a value, or a text with the name in it, may have; longer ones have no line in messages.
_LONGEST = 100
#: Lines with the name in them that are looked at, for each takes as long as reading all that is above it.
_MOST = 200


def line(source: str, names: Sequence[str]) -> int | None:
    """The line in which a key first stands, from 1; ``None`` where that is not easily seen.

    Args:
        source: a valid TOML text.
        names: of the key, from the outermost table on.
    """
    lines = source.split("\n")
    starts = [start for start, text in enumerate(lines) if names[-1] in text]
    for start in starts[:_MOST]:
        for end in range(start + 1, min(start + _LONGEST, len(lines)) + 1):
            try:
                tables = tomllib.loads("\n".join(lines[:end]))
            except (tomllib.TOMLDecodeError, RecursionError):
                continue  # the value goes on
            if _has(tables, names):
                return start + 1
            break
    return None


def _has(tables: Any, names: Sequence[str]) -> bool:
    for name in names:
        if not isinstance(tables, Mapping) or name not in tables:
            return False
        tables = tables[name]
    return True
