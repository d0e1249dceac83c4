"""Locks on an open file, between the processes that write to it.

They lie on bytes far behind the file's end, so that they hold up nobody who only reads. Each claim is a byte of its own. They end with the process,
however it ends, and when the process closes *any* descriptor of the file (POSIX, ``fcntl``): so it must have one only.
Where the file system knows no locks, nothing is locked.
"""

# MERGED DOCSTRING of qubrid_cli.replacement: How a file is changed: as a whole, so that whoever looks, or pulls the plug, finds the old one or the new one.

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_TEMPORARY_SUFFIX = ".new"


@contextmanager
def open_atomic(
    path: Path, *, mode: int | None = None, sync: bool = True, overwrite: bool = True
) -> Iterator[BinaryIO]:
    """Open a temporary file that becomes ``path`` when the block ends, and is deleted if the block raises.

    It lies in the same folder. A reader of ``path`` sees the old file or the new one, never a part.

    Args:
        mode: permissions of the finished file, which only its owner can read until then; ``None`` for those that the
            user's umask gives to any new file.
        sync: write the data to the disk first, so that it survives a loss of power.
        overwrite: if false, an existing file stays (on file systems without hard links, it is overwritten anyway).

    Raises:
        FileExistsError: ``overwrite`` is false and ``path`` exists.
        OSError: the file cannot be written; the old one is unchanged.
    """
    temporary = path.with_name(f".{path.name[:40]}.{os.urandom(4).hex()}{_TEMPORARY_SUFFIX}")
    try:
        with open(temporary, "xb", opener=partial(os.open, mode=0o666 if mode is None else 0o600)) as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        if mode is not None:
            os.chmod(temporary, mode)
        if overwrite or not _link_if_absent(temporary, path):
            os.replace(temporary, path)
    finally:
        with suppress(OSError):  # it has been moved, or was never created
            os.unlink(temporary)


def write_atomic(
    path: Path, data: bytes, *, mode: int | None = None, sync: bool = True, overwrite: bool = True
) -> None:
    """Write a file as ``open_atomic`` does."""
    with open_atomic(path, mode=mode, sync=sync, overwrite=overwrite) as file:
        file.write(data)


def _link_if_absent(temporary: Path, path: Path) -> bool:
    """Give the file a second name unless that exists; false if the file system has no hard links."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):
        return False
    return True


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Nobody else who asks for it changes the file meanwhile; the lock goes with the process, however that ends.

    What was left beside it by one that was killed is cleared away.

    Raises:
        OSError: the folder is not there or closed to us.
    """
    lock = path.with_name(f".{path.name}.lock")
    descriptor = _acquire_lock(lock)
    try:
        for left in path.parent.iterdir():
            if re.fullmatch(rf"\.{re.escape(path.name[:40])}\.\w{{8}}{re.escape(_TEMPORARY_SUFFIX)}", left.name):
                left.unlink()
        yield
    finally:
        with suppress(OSError):  # Windows removes nothing that is open
            os.unlink(lock)
        os.close(descriptor)


def _acquire_lock(lock: Path) -> int:
    """An open lock file that nobody else has; it is made anew where the one before removed it meanwhile."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _wait_for_lock(descriptor)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(lock)):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


if sys.platform == "win32":

    def _wait_for_lock(descriptor: int) -> None:
        while True:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
            except OSError:  # it gives up after ten seconds
                continue
            return

else:

    def _wait_for_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)


_WRITE_LOCK_BYTE = 1 << 62
_USE_LOCK_BYTE = _WRITE_LOCK_BYTE + 1
#: From here on there is a byte for each claim.
_FIRST_CLAIM_BYTE = 1 << 61
#: What says that somebody else has a lock; any other error, that there are none here.
_LOCKED_ERRNOS = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}

if sys.platform == "win32":
    import msvcrt
    import os

    @contextmanager
    def lock_for_writing(descriptor: int) -> Iterator[None]:
        """Nobody else is writing meanwhile."""
        _lock_write_byte(descriptor, msvcrt.LK_LOCK)
        try:
            yield
        finally:
            _lock_write_byte(descriptor, msvcrt.LK_UNLCK)

    def _lock_write_byte(descriptor: int, mode: int) -> None:
        with suppress(OSError):
            os.lseek(descriptor, _WRITE_LOCK_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, mode, 1)

    def lock_shared(descriptor: int) -> None:
        """Say that we use the file."""

    def try_lock_exclusive(descriptor: int) -> bool:
        """Whether nobody else uses the file; never known on Windows, whose locks are never shared."""
        return descriptor < 0

    def claim(descriptor: int, number: int) -> bool:
        """Take something that only one process has at a time; false where another one has it."""
        try:
            os.lseek(descriptor, _FIRST_CLAIM_BYTE + number, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            return error.errno not in _LOCKED_ERRNOS
        return True

    def release_claim(descriptor: int, number: int) -> None:
        """Let a claim go."""
        with suppress(OSError):
            os.lseek(descriptor, _FIRST_CLAIM_BYTE + number, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    @contextmanager
    def lock_for_writing(descriptor: int) -> Iterator[None]:
        """Nobody else is writing meanwhile."""
        with suppress(OSError):
            fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, _WRITE_LOCK_BYTE)
        try:
            yield
        finally:
            with suppress(OSError):
                fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, _WRITE_LOCK_BYTE)

    def lock_shared(descriptor: int) -> None:
        """Say that we use the file; wait while somebody uses it alone."""
        with suppress(OSError):
            fcntl.lockf(descriptor, fcntl.LOCK_SH, 1, _USE_LOCK_BYTE)

    def try_lock_exclusive(descriptor: int) -> bool:
        """Whether nobody else uses the file, and from now on nobody will."""
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _USE_LOCK_BYTE)
        except OSError:
            return False
        return True

    def claim(descriptor: int, number: int) -> bool:
        """Take something that only one process has at a time; false where another one has it.

        Args:
            number: which, below 2⁵⁶.
        """
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _FIRST_CLAIM_BYTE + number)
        except OSError as error:
            return error.errno not in _LOCKED_ERRNOS
        return True

    def release_claim(descriptor: int, number: int) -> None:
        """Let a claim go."""
        with suppress(OSError):
            fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, _FIRST_CLAIM_BYTE + number)
