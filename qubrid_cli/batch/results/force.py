"""The mark of a run with ``--force`` that is not finished, so that the next one goes on where it stopped."""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...files import get_hidden_path, write_atomic
from .lines import read_at

#: Bytes before the mark by which it is recognized.
_CHECKED_BYTES = 256


class ForceMark:
    """A file beside the results file. Answers before its offset do not count for a run with ``--force``.

    While it exists, no lines are removed from the results file, because that would move the offset.

    Args:
        path: of the results file itself, not of a link.
    """

    def __init__(self, path: Path) -> None:
        self._path = get_hidden_path(path, ".force")

    @property
    def exists(self) -> bool:
        """Whether a run with ``--force`` is not finished."""
        return self._path.exists()

    def read(self, descriptor: int) -> int | None:
        """Return the offset; ``None`` without a mark, or if the results file is not the same any more.

        Args:
            descriptor: of the results file.
        """
        with suppress(OSError, ValueError, RecursionError):
            mark: Any = json.loads(self._path.read_bytes())
            match mark:
                case {"offset": int(offset), "check": str(check)} if check == _compute_check(descriptor, offset):
                    return offset
        return None

    def write(self, descriptor: int, offset: int) -> None:
        """Set the mark.

        Raises:
            OSError: it cannot be written.
        """
        write_atomic(self._path, json.dumps({"offset": offset, "check": _compute_check(descriptor, offset)}).encode())

    def delete(self) -> None:
        """Remove the mark: the run is finished."""
        with suppress(OSError):
            os.unlink(self._path)


def _compute_check(descriptor: int, offset: int) -> str:
    start = max(0, offset - _CHECKED_BYTES)
    return hashlib.sha256(read_at(descriptor, start, offset - start) if offset > 0 else b"").hexdigest()
