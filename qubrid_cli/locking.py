"""Locks on an open file, between the processes that write to it.

They lie on bytes far behind the file's end, so that they hold up nobody who only reads. Each claim is a byte of its own. They end with the process,
however it ends, and when the process closes *any* descriptor of the file (POSIX, ``fcntl``): so it must have one only.
Where the file system knows no locks, nothing is locked.
"""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_WRITING = 1 << 62
_USING = _WRITING + 1
#: From here on there is a byte for each claim.
_CLAIMS = 1 << 61
#: What says that somebody else has a lock; any other error, that there are none here.
_TAKEN = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}

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

    def claim(descriptor: int, number: int) -> bool:
        """Take something that only one process has at a time; false where another one has it."""
        try:
            os.lseek(descriptor, _CLAIMS + number, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            return error.errno not in _TAKEN
        return True

    def release(descriptor: int, number: int) -> None:
        """Let a claim go."""
        with suppress(OSError):
            os.lseek(descriptor, _CLAIMS + number, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

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

    def claim(descriptor: int, number: int) -> bool:
        """Take something that only one process has at a time; false where another one has it.

        Args:
            number: which, below 2⁵⁶.
        """
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _CLAIMS + number)
        except OSError as error:
            return error.errno not in _TAKEN
        return True

    def release(descriptor: int, number: int) -> None:
        """Let a claim go."""
        with suppress(OSError):
            fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, _CLAIMS + number)
