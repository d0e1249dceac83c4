"""Locks on an open file, between the processes that write to it.

They lie on bytes far behind the file's end, so that they hold up nobody who only reads. They end with the process,
however it ends, and when the process closes *any* descriptor of the file (POSIX, ``fcntl``): so it must have one only.
Where the file system knows no locks, nothing is locked.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_WRITING = 1 << 62
_USING = _WRITING + 1

if sys.platform == "win32":
    import msvcrt
    import os

    @contextmanager
    def writing(descriptor: int) -> Iterator[None]:
        """Nobody else is writing meanwhile."""
        _lock(descriptor, msvcrt.LK_LOCK)
        try:
            yield
        finally:
            _lock(descriptor, msvcrt.LK_UNLCK)

    def _lock(descriptor: int, how: int) -> None:
        with suppress(OSError):
            os.lseek(descriptor, _WRITING, os.SEEK_SET)
            msvcrt.locking(descriptor, how, 1)

    def use(descriptor: int) -> None:
        """Say that we use the file."""

    def use_alone(descriptor: int) -> bool:
        """Whether nobody else uses the file; never known on Windows, whose locks are never shared."""
        return descriptor < 0

else:
    import fcntl

    @contextmanager
    def writing(descriptor: int) -> Iterator[None]:
        """Nobody else is writing meanwhile."""
        with suppress(OSError):
            fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, _WRITING)
        try:
            yield
        finally:
            with suppress(OSError):
                fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, _WRITING)

    def use(descriptor: int) -> None:
        """Say that we use the file; wait while somebody uses it alone."""
        with suppress(OSError):
            fcntl.lockf(descriptor, fcntl.LOCK_SH, 1, _USING)

    def use_alone(descriptor: int) -> bool:
        """Whether nobody else uses the file, and from now on nobody will."""
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _USING)
        except OSError:
            return False
        return True
