"""Rewriting a results file without some of its lines, piece by piece and atomically."""

import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from ...files import open_atomic
from .lines import read_at, read_line_at

_COPY_BYTES = 1 << 20

#: Reports how much of a job is done: its name, the bytes done, and the bytes of the whole.
ReportProgress = Callable[[str, int, int], None]


def rewrite(
    descriptor: int,
    path: Path,
    *,
    superseded: Iterable[int],
    damaged: Iterable[int],
    report: ReportProgress,
    release: Callable[[], None],
) -> bool:
    """Replace a results file by a copy without superseded and damaged lines; false if it must not be replaced.

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
        return False
    damaged = sorted(damaged)

    def copy(start: int, end: int) -> None:
        while start < end:
            if not (chunk := read_at(descriptor, start, min(_COPY_BYTES, end - start))):
                raise OSError("the file was shortened")
            file.write(chunk)
            start += len(chunk)
            report("rewriting", start, status.st_size)

    with open_atomic(path, mode=stat.S_IMODE(status.st_mode), wait=False) as file:
        position = 0
        for offset in sorted([*superseded, *damaged]):
            copy(position, offset)
            position = min(offset + len(read_line_at(descriptor, offset)) + 1, status.st_size)
        copy(position, status.st_size)
        _copy_owner(file.fileno(), status)  # before the mode is set: changing the owner clears bits of it
        _append_damaged(descriptor, path, damaged, stat.S_IMODE(status.st_mode))
        file.flush()
        os.fsync(file.fileno())
        release()
    return True


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
