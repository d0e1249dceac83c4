"""Rewriting a results file without some of its lines, piece by piece and atomically."""

import hashlib
import os
import stat
from array import array
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ...files import open_atomic
from .indexing import ReportProgress
from .lines import read_at, read_line_at

_COPY_BYTES = 1 << 20


class Rewriting(NamedTuple):
    """What was removed from a file.

    Attributes:
        starts: the offsets of the ranges of bytes that were removed, in order.
        lengths: of these ranges, in bytes.
        hasher: the SHA-256 of the new file.
    """

    starts: "array[int]"
    lengths: "array[int]"
    hasher: Any


def rewrite(
    descriptor: int,
    path: Path,
    *,
    superseded: Iterable[int],
    damaged: Iterable[int],
    report: ReportProgress,
    release: Callable[[], None],
) -> Rewriting | None:
    """Replace a results file by a copy without superseded and damaged lines; ``None`` if it must not be replaced.

    Damaged lines are moved to ``FILE.damaged``. The file is left alone if it has several names (hard links) or an owner
    that cannot be given to a new file.

    Args:
        path: of the file itself, not of a link.
        superseded: the offsets of superseded lines, in order.
        release: called before the file is replaced.

    Raises:
        OSError: the new file cannot be written; the old one is unchanged.
    """
    status = os.fstat(descriptor)
    if status.st_nlink > 1:
        return None
    damaged = sorted(damaged)
    removed = Rewriting(array("Q", sorted([*superseded, *damaged])), array("Q"), hashlib.sha256())

    def copy(start: int, end: int) -> None:
        while start < end:
            if not (chunk := read_at(descriptor, start, min(_COPY_BYTES, end - start))):
                raise OSError("the file was shortened")
            file.write(chunk)
            removed.hasher.update(chunk)
            start += len(chunk)
            report("rewriting", start, status.st_size)

    with open_atomic(path, mode=stat.S_IMODE(status.st_mode), wait=False) as file:
        position = 0
        for offset in removed.starts:
            copy(position, offset)
            position = min(offset + len(read_line_at(descriptor, offset)) + 1, status.st_size)
            removed.lengths.append(position - offset)
        copy(position, status.st_size)
        _copy_owner(file.fileno(), status)  # before the mode is set: changing the owner clears bits of it
        _append_damaged(descriptor, path, damaged, stat.S_IMODE(status.st_mode))
        file.flush()
        os.fsync(file.fileno())
        release()
    return removed


def _append_damaged(descriptor: int, path: Path, offsets: Iterable[int], mode: int) -> None:
    lines = [line for offset in offsets if (line := read_line_at(descriptor, offset)).strip()]
    if lines:
        target = get_damaged_path(path)
        with open(target, "ab", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.writelines(line + b"\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())


def get_damaged_path(path: Path) -> Path:
    """The file for damaged lines."""
    return path.with_name(f"{path.name}.damaged")


def _copy_owner(descriptor: int, original: os.stat_result) -> None:
    """Give a new file the owner and group of another one."""
    status = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) != (original.st_uid, original.st_gid):
        os.fchown(descriptor, original.st_uid, original.st_gid)
