"""A results file line by line, and anew without the lines whose place later ones have taken."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress

from . import entries

_MANY = 1 << 20
_ONE = 1 << 14


class OverlongError(ValueError):
    """A line is longer than any of ours."""


def lines(descriptor: int, start: int = 0, *, piece_size: int = _MANY) -> Iterator[tuple[int, bytes]]:
    """The whole lines of an open file from some place on, each with its own place, without what ends them.

    Raises:
        OverlongError: one has more than ``entries.MAX_LINE`` bytes.
    """
    begun: list[bytes] = []
    at, size = start, 0
    while piece := _read(descriptor, at + size, piece_size):
        first, *others = piece.split(b"\n")
        begun.append(first)
        size += len(first)
        for other in others:
            yield at, b"".join(begun)
            at += size + 1
            begun, size = [other], len(other)
        if size > entries.MAX_LINE:
            raise OverlongError


def line_at(descriptor: int, place: int) -> bytes:
    """The line that begins at a place; nothing where there is none."""
    try:
        return next((line for _, line in lines(descriptor, place, piece_size=_ONE)), b"")
    except OverlongError:
        return b""


def _read(descriptor: int, place: int, size: int) -> bytes:
    os.lseek(descriptor, place, os.SEEK_SET)  # there is no pread on Windows
    return os.read(descriptor, size)


def rewrite(descriptor: int, path: str) -> None:
    """Put a file in the place of a results file that has no superseded lines, if it has any; all at once or not at all.

    Of the failures of one image and prompt stays the last, and none where something came after it. Of the answers to
    one question about one image stays the last; where the image has changed, those about what it was before go. What
    cannot be read stays. So does the whole file where it has several names (hard links), or an owner that a new one
    cannot be given.

    Args:
        path: of the file itself, no link.

    Raises:
        OSError: no room, or a folder that is closed to us; all is as before.
    """
    status = os.fstat(descriptor)
    if status.st_nlink > 1 or not (gone := _superseded(descriptor)):
        return
    handle, name = tempfile.mkstemp(prefix=".qvision-", dir=os.path.dirname(path))
    try:
        with open(handle, "wb") as file:
            for offset, line in lines(descriptor):
                if offset not in gone:
                    file.write(line + b"\n")
            file.flush()
            os.fsync(handle)
            _give(handle, status)
        os.chmod(name, stat.S_IMODE(status.st_mode))  # after the owner, for another owner takes bits away
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _give(handle: int, like: os.stat_result) -> None:
    """Give a new file the owner and group of another one."""
    ours = os.fstat(handle)
    if (ours.st_uid, ours.st_gid) != (like.st_uid, like.st_gid):
        os.fchown(handle, like.st_uid, like.st_gid)


def _superseded(descriptor: int) -> set[int]:
    """The places of the lines whose place others have taken, and of blank ones."""
    gone: set[int] = set()
    failures: dict[bytes, int] = {}
    answers: dict[bytes, int] = {}
    versions: dict[bytes, tuple[bytes, list[int]]] = {}
    for offset, line in lines(descriptor):
        place = entries.place(line)
        if place is None:
            if not line.strip():
                gone.add(offset)
            continue
        gone.add(failures.pop(place.question, -1))
        if not place.is_ok:
            failures[place.question] = offset
        elif place.key is not None:
            gone.add(answers.pop(place.answer, -1))
            answers[place.answer] = offset
            content, offsets = versions.get(place.subject, (place.content, []))
            if content != place.content:
                gone.update(offsets)
                offsets = []
            offsets.append(offset)
            versions[place.subject] = place.content, offsets
    return gone - {-1}
