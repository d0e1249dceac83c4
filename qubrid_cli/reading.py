"""The bytes behind an image, or the reason why there are none."""

import os
import stat
from collections.abc import Iterator
from typing import BinaryIO, assert_never

from .errors import ImageError
from .sources import Bytes, File, Piped, Remote

#: 512 MiB: no photo is as large; what is would fill the memory.
MAX_FILE_BYTES = 512 * 1024 * 1024


def read(source: File | Bytes | Remote | Piped) -> bytes:
    """All bytes of an image.

    Raises:
        ImageError: missing, unreadable, no regular file, not to be fetched, empty or larger than ``MAX_FILE_BYTES``.
    """
    match source:
        case Bytes():
            data = source.data
        case Remote():
            data = source.fetch()
        case Piped():
            data = b"".join(_chunks(source.stream))
        case File():
            data = _file_bytes(source)
        case _:
            assert_never(source)
    if not data:
        said = "nothing came on standard input" if isinstance(source, Piped) else f"{source.name} is empty (0 bytes)"
        raise ImageError(said, hint="Perhaps it did not arrive whole.")
    if len(data) > MAX_FILE_BYTES:
        raise _too_large(source.name)
    return data


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    """All there is, up to a little over the limit; a pipe gives out what it has just got."""
    left = MAX_FILE_BYTES + 1
    while left > 0 and (chunk := stream.read(1024 * 1024)):
        yield chunk
        left -= len(chunk)


def _file_bytes(source: File) -> bytes:
    try:
        with open(source.path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(
                    f"{source.name} is not a regular file", hint=f"Pipe it in: qvision describe - < {source.name}"
                )
            if status.st_size > MAX_FILE_BYTES:
                raise _too_large(source.name)
            return file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError):
            hint = (
                "It is a link to a file that is not there."
                if os.path.islink(source.path)
                else "Nothing is called so now; a name that is not absolute counts from the current folder."
            )
            raise ImageError(f"no such image: {source.name}", hint=hint) from error
        reason = error.strerror if isinstance(error, OSError) else str(error)
        hint = (
            "Check its permissions."
            if isinstance(error, PermissionError)
            else "Check the name, and the disk that it is on."
        )
        raise ImageError(f"cannot read {source.name}: {reason}", hint=hint) from error


def _open_at_once(name: str, flags: int) -> int:
    """Opening a FIFO that nobody writes to would wait for ever; it is refused anyway."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def _too_large(name: str) -> ImageError:
    return ImageError(f"{name} is larger than {MAX_FILE_BYTES >> 20} MiB", hint="Shrink it with an image editor first.")
