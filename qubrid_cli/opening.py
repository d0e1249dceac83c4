"""How a results file is opened, and refused where it is something else."""

import os
import stat
from contextlib import suppress
from pathlib import Path

from . import locking
from .errors import UsageError

#: Bytes that are looked at before anything else is.
_HEAD = 1 << 16


def opened(path: Path) -> int:
    """The file, open and in use; once more where it was replaced in between.

    Raises:
        UsageError: it cannot be used, or is something else by its first bytes.
    """
    while True:
        try:
            if path.exists() and not stat.S_ISREG(path.stat().st_mode):
                raise UsageError(f"-o {path} is not a regular file", hint="Leave out -o to write to standard output.")
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
            descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            hint = "Make the folder first." if isinstance(error, FileNotFoundError) else "Check the permissions."
            raise UsageError(f"-o {path} cannot be written: {error.strerror}", hint=hint) from error
        if not _may_hold_results(descriptor):
            os.close(descriptor)
            raise foreign(path)
        locking.use(descriptor)
        with suppress(OSError):
            if os.path.samestat(os.stat(path), os.fstat(descriptor)):
                return descriptor
        os.close(descriptor)


def foreign(path: Path) -> UsageError:
    """What is said of a file that holds something else than results."""
    return UsageError(
        f"-o {path} is not a results file, and stays as it is",
        hint="Name another file; results are added only to what a run has written.",
    )


def _may_hold_results(descriptor: int) -> bool:
    """Whether an object begins where the file does, or at another line; the first one may be damaged."""
    head = os.read(descriptor, _HEAD).lstrip()
    return not head or head.startswith(b"{") or b'\n{"' in head
