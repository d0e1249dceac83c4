"""How a file is changed: as a whole, so that whoever looks, or pulls the plug, finds the old one or the new one."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_NEW = ".new"


def replace(path: Path, data: bytes, *, mode: int) -> None:
    """Put a new file in the place of another, or where there was none.

    It is written beside it, readable for its owner alone until it is whole, and survives a crash of the machine.

    Args:
        mode: its permissions, once it is whole.

    Raises:
        OSError: it cannot be written; the old one is as it was.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=_NEW, dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            os.fsync(file.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else who asks for it changes the file meanwhile; the lock goes with the process, however that ends.

    What was left beside it by one that was killed is cleared away.

    Raises:
        OSError: the folder is not there or closed to us.
    """
    lock = path.with_name(f".{path.name}.lock")
    descriptor = _acquired(lock)
    try:
        for left in path.parent.iterdir():
            if re.fullmatch(rf"\.{re.escape(path.name[:40])}\.\w{{8}}{re.escape(_NEW)}", left.name):
                left.unlink()
        yield
    finally:
        with suppress(OSError):  # Windows removes nothing that is open
            os.unlink(lock)
        os.close(descriptor)


def _acquired(lock: Path) -> int:
    """An open lock file that nobody else has; it is made anew where the one before removed it meanwhile."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _wait_for(descriptor)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(lock)):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


if sys.platform == "win32":

    def _wait_for(descriptor: int) -> None:
        while True:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
            except OSError:  # it gives up after ten seconds
                continue
            return

else:

    def _wait_for(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
