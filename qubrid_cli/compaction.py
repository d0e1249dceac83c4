"""A results file line by line, and anew without the lines whose place later ones have taken."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress

from . import entries

_MANY = 1 << 20
_ONE = 1 << 14


def lines(descriptor: int, start: int = 0, *, piece_size: int = _MANY) -> Iterator[tuple[int, bytes]]:
    """The whole lines of an open file from some place on, each with its own place, without what ends them."""
    rest = b""
    at = start
    while piece := _read(descriptor, at + len(rest), piece_size):
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield at, line
            at += len(line) + 1


def line_at(descriptor: int, place: int) -> bytes:
    """The line that begins at a place."""
    return next((line for _, line in lines(descriptor, place, piece_size=_ONE)), b"")


def _read(descriptor: int, place: int, size: int) -> bytes:
    os.lseek(descriptor, place, os.SEEK_SET)  # there is no pread on Windows
    return os.read(descriptor, size)


def rewrite(descriptor: int, path: str) -> None:
    """Put a file in the place of a results file that has no superseded lines, if it has any; all at once or not at all.

    Of the failures of one image and prompt stays the last, and none where something came after it. Of the answers to
    one question about one image stays the last. What cannot be read stays.

    Args:
        path: of the file itself, no link.

    Raises:
        OSError: no room, or a folder that is closed to us; all is as before.
    """
    gone = _superseded(descriptor)
    if not gone:
        return
    handle, name = tempfile.mkstemp(prefix=".qvision-", dir=os.path.dirname(path))
    try:
        with open(handle, "wb") as file:
            for offset, line in lines(descriptor):
                if offset not in gone:
                    file.write(line + b"\n")
            file.flush()
            os.fsync(handle)
        os.chmod(name, stat.S_IMODE(os.fstat(descriptor).st_mode))
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _superseded(descriptor: int) -> set[int]:
    """The places of the lines whose place others have taken, and of blank ones."""
    gone: set[int] = set()
    failures: dict[bytes, int] = {}
    answers: dict[bytes, int] = {}
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
    return gone - {-1}
