"""Write a file atomically, and lock files between the processes that write to them.

All locks end with the process that holds them, however it ends. On a file system without locks, nothing is locked.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from .operating_system import IS_WINDOWS, FileLocks, get_locks, replace_file

_TEMPORARY_SUFFIX = ".new"
#: Bytes of the longest name that a hidden file repeats: file systems allow 255, and the suffix needs up to 16.
_MAX_REPEATED_BYTES = 200
# Locks on an open file are on bytes far beyond its end, so that they do not block readers. They also end when the process
# closes any other descriptor of the file (POSIX, fcntl), so it must have only one.
_WRITE_LOCK_BYTE = 1 << 62
_USE_LOCK_BYTE = _WRITE_LOCK_BYTE + 1
#: The first of 2⁵⁶ bytes, one for each claim.
_FIRST_CLAIM_BYTE = 1 << 61
#: Errors of a lock that another process holds. Any other error means that the file system has no locks.
_LOCKED_ERRNOS = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}


@contextmanager
def open_atomic(
    path: Path, *, mode: int | None = None, sync: bool = True, overwrite: bool = True, wait: bool = True
) -> Iterator[BinaryIO]:
    """Open a temporary file that becomes ``path`` when the block ends, and is deleted if the block raises.

    The temporary file is in the same folder. A reader of ``path`` sees the old file or the new one, never a part.

    Args:
        mode: permissions of the finished file, which only its owner can read until then; ``None`` for those that the
            user's umask gives to any new file.
        sync: write the data to the disk first, so that it survives a loss of power.
        overwrite: if false, an existing file stays (on file systems without hard links, it is overwritten anyway).
        wait: on Windows, where an open file cannot be replaced, wait some seconds for the program that has it open.

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
            replace_file(temporary, path, is_windows=wait and IS_WINDOWS)
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
    """Link the temporary file to ``path``; false if the file system has no hard links.

    Raises:
        FileExistsError: ``path`` exists.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):
        return False
    return True


def get_hidden_path(path: Path, suffix: str) -> Path:
    """The hidden file that belongs to a file: ``.NAME`` and a suffix; of a name that is too long for that, its hash."""
    name = path.name
    if len(os.fsencode(name)) > _MAX_REPEATED_BYTES:
        import hashlib  # rarely needed

        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return path.with_name(f".{name}{suffix}")


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold the lock of a path until the block ends, and first delete the temporary files of processes that were killed.

    Waits while another process, or another thread of this one, holds the lock.

    Raises:
        OSError: the folder does not exist or is not writable.
    """
    lock = get_hidden_path(path, ".lock")
    descriptor = _acquire_lock(lock)
    try:
        remove_temporary_files(path)
        yield
    finally:
        close_and_delete(descriptor, lock)


@contextmanager
def try_file_lock(path: Path) -> Iterator[bool]:
    """Hold the lock of a path until the block ends; yields false, without waiting, if another process holds it.

    Raises:
        OSError: the folder does not exist or is not writable.
    """
    lock = get_hidden_path(path, ".lock")
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        if not claim(descriptor, 0):
            os.close(descriptor)
            yield False
            return
        with suppress(FileNotFoundError):  # its last owner may have deleted it in the meantime
            if os.path.samestat(os.fstat(descriptor), os.stat(lock)):
                break
        os.close(descriptor)
    try:
        remove_temporary_files(path)
        yield True
    finally:
        close_and_delete(descriptor, lock)


def close_and_delete(descriptor: int, path: Path, *, is_windows: bool = IS_WINDOWS) -> None:
    """Delete a file that is open and locked, so that no other process gets its lock before it is gone.

    Windows cannot delete an open file. There it is closed first, and stays if another process has opened it.
    """
    if is_windows:
        os.close(descriptor)
    with suppress(OSError):
        os.unlink(path)
    if not is_windows:
        os.close(descriptor)


def remove_temporary_files(path: Path) -> None:
    """Delete the temporary files of processes that were killed in ``open_atomic``.

    A lock must ensure that no other process is writing to ``path`` in that way now.

    Raises:
        OSError: the folder does not exist or is not writable.
    """
    pattern = re.compile(rf"\.{re.escape(path.name[:40])}\.\w{{8}}{re.escape(_TEMPORARY_SUFFIX)}")
    with os.scandir(path.parent) as scan:
        names = [entry.name for entry in scan if pattern.fullmatch(entry.name)]
    for name in names:
        os.unlink(path.with_name(name))


def _acquire_lock(lock: Path) -> int:
    """Open and lock a lock file; start again if its last owner deleted it in the meantime."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            get_locks().lock_file(descriptor)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(lock)):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


@contextmanager
def lock_for_writing(descriptor: int) -> Iterator[None]:
    """Hold the write lock of an open file until the block ends; waits while another process holds it."""
    with suppress(OSError):
        get_locks().lock(descriptor, _WRITE_LOCK_BYTE, is_shared=False, wait=True)
    try:
        yield
    finally:
        _unlock(descriptor, _WRITE_LOCK_BYTE)


def claim(descriptor: int, number: int) -> bool:
    """Claim a number below 2⁵⁶ that only one process can have; false if another process has it."""
    try:
        get_locks().lock(descriptor, _FIRST_CLAIM_BYTE + number, is_shared=False, wait=False)
    except OSError as error:
        return error.errno not in _LOCKED_ERRNOS
    return True


def release_claim(descriptor: int, number: int) -> None:
    """Release a claimed number."""
    _unlock(descriptor, _FIRST_CLAIM_BYTE + number)


def lock_shared(descriptor: int, *, locks: FileLocks | None = None) -> None:
    """Mark an open file as in use, by a shared lock; waits while another process holds it exclusively."""
    with suppress(OSError):
        (locks or get_locks()).lock(descriptor, _USE_LOCK_BYTE, is_shared=True, wait=True)


def try_lock_exclusive(descriptor: int, *, locks: FileLocks | None = None) -> bool:
    """Make the lock from ``lock_shared`` exclusive; false, without waiting, if another process uses the file too."""
    locks = locks or get_locks()
    if not locks.can_convert:
        with suppress(OSError):
            locks.unlock(descriptor, _USE_LOCK_BYTE)
    try:
        locks.lock(descriptor, _USE_LOCK_BYTE, is_shared=False, wait=False)
    except OSError:
        if not locks.can_convert:
            lock_shared(descriptor, locks=locks)
        return False
    return True


def _unlock(descriptor: int, position: int) -> None:
    with suppress(OSError):
        get_locks().unlock(descriptor, position)
