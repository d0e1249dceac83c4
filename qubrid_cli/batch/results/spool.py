"""Lines that wait for earlier ones with ``--ordered``, kept in a hidden file beside the results file meanwhile."""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ... import files
from ...errors import OutputError
from .lines import read_lines

_SUFFIX = ".spool"
#: Bytes; a larger spool is written anew if most of its lines are in the results file already.
_LARGE_SPOOL = 16 << 20


class Spool:
    """The spool of this run. Its file exists while lines wait, and is locked, so that other runs leave it alone.

    Args:
        path: of the results file itself, not of a link.
    """

    def __init__(self, path: Path) -> None:
        self._results = path
        self._path: Path | None = None
        self._descriptor = -1
        self._size = 0
        self._waiting: dict[int, bytes] = {}

    def add(self, line: bytes) -> None:
        """Keep a line until it is written to the results file.

        Raises:
            OutputError: it could not be written.
        """
        try:
            if self._path is None:
                self._open()
            if os.write(self._descriptor, line) != len(line):
                os.ftruncate(self._descriptor, self._size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            hint = "Is the disk full?"
            if isinstance(error, PermissionError):
                hint = "Check the permissions of the folder, or leave out --ordered."
            raise OutputError(f"cannot write beside {self._results}: {error.strerror}", hint=hint) from error
        self._size += len(line)
        self._waiting[hash(line)] = line

    def remove(self, line: bytes) -> None:
        """Forget a line, which is in the results file."""
        if self._waiting.pop(hash(line), None) is None:
            return
        if not self._waiting:
            with suppress(OSError):
                os.ftruncate(self._descriptor, 0)
                self._size = 0
        elif self._size > _LARGE_SPOOL and self._size > 4 * sum(map(len, self._waiting.values())):
            self._rewrite()

    def close(self) -> None:
        """Delete the file: all its lines are in the results file."""
        if self._path is not None:
            files.close_and_delete(self._descriptor, self._path)
            self._path = None

    def _open(self) -> None:
        path = files.get_hidden_path(self._results, f".{os.urandom(4).hex()}{_SUFFIX}")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(path, flags, 0o600)
        self._path, self._size = path, 0
        files.claim(self._descriptor, 0)

    def _rewrite(self) -> None:
        old_path, old = self._path, self._descriptor
        waiting, self._path, self._waiting = list(self._waiting.values()), None, {}
        for line in waiting:
            self.add(line)
        if old_path is not None:
            files.close_and_delete(old, old_path)


def adopt_spools(path: Path) -> Iterator[list[bytes]]:
    """Yield the lines of each spool that a killed run has left, and delete it when the next one is requested.

    Args:
        path: of the results file itself, not of a link.
    """
    prefix = files.get_hidden_path(path, ".").name
    with os.scandir(path.parent) as scan:
        names = [entry.name for entry in scan if entry.name.startswith(prefix) and entry.name.endswith(_SUFFIX)]
    for name in names:
        with suppress(OSError):
            yield from _adopt(path.with_name(name))


def _adopt(spool: Path) -> Iterator[list[bytes]]:
    descriptor = os.open(spool, os.O_RDWR | getattr(os, "O_BINARY", 0))
    is_ours = False
    try:
        if files.claim(descriptor, 0) and os.fstat(descriptor).st_nlink:
            yield [line + b"\n" for _, line in read_lines(descriptor)]
            is_ours = True
    finally:
        if is_ours:
            files.close_and_delete(descriptor, spool)
        else:
            os.close(descriptor)
