"""The lines that a run has written, kept a second time so that they survive whatever happens to the results file."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from .lines import read_lines


class OwnLines:
    """The lines of this run, in a file without a name, which disappears with the process.

    Args:
        folder: where the results file is; if nothing can be created there, the system's folder for temporary files.
    """

    def __init__(self, folder: Path) -> None:
        self._file = _open_unnamed(folder)
        self._size = 0
        self.count = 0

    def add(self, line: bytes) -> None:
        """Add a line. On a full disk, it is not added: it is in the results file already."""
        with suppress(OSError):
            os.lseek(self._file.fileno(), self._size, os.SEEK_SET)
            if os.write(self._file.fileno(), line) == len(line):
                self._size += len(line)
                self.count += 1

    def find_missing(self, descriptor: int) -> Iterator[bytes]:
        """Yield the lines that are not in an open file, with their ends."""
        present = {_digest(line) for _, line in read_lines(descriptor)} if self.count else set()
        for _, line in read_lines(self._file.fileno()):
            if _digest(line) not in present:
                yield line + b"\n"

    def close(self) -> None:
        """Delete the file."""
        self._file.close()


def _open_unnamed(folder: Path) -> BinaryIO:
    try:
        return tempfile.TemporaryFile(buffering=0, dir=folder)
    except OSError:
        return tempfile.TemporaryFile(buffering=0)


def _digest(line: bytes) -> bytes:
    return hashlib.blake2b(line.rstrip(b"\r"), digest_size=12).digest()


def open_rescue_file(path: Path) -> tuple[int, Path]:
    """Open a file for lines that cannot go to the results file: beside it, or in the next folder that exists.

    Raises:
        OSError: it cannot be created anywhere.
    """
    folders = [folder for folder in path.absolute().parents if folder.is_dir()]
    for folder in [*folders[:1], Path(tempfile.gettempdir())]:
        target = folder / f"{path.name}.rescued"
        with suppress(OSError):
            return os.open(target, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666), target
    raise OSError(f"cannot create {path.name}.rescued")
