"""Where answers go: stdout or a file."""

import os
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from .errors import OutputError, UsageError, harmless


class Output:
    """Where answers go: stdout, or a file that is replaced as a whole when all is done.

    Args:
        path: of the file; ``None`` for stdout.

    Raises:
        UsageError: the file could not be written; better said before an answer is paid for.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._pieces: list[bytes] = []
        self._path = None if path is None else _place(path)
        if path is None or self._path is None:
            return
        if self._path.is_dir():
            raise UsageError(f"-o {path} is a folder", hint="Name a file in it.")
        if not self._path.parent.is_dir():
            raise UsageError(f"-o {path}: there is no folder {self._path.parent}", hint="Make it first.")
        if not os.access(self._path if self._path.exists() else self._path.parent, os.W_OK):
            raise UsageError(f"-o {path} may not be written", hint="Check the permissions.")

    @property
    def is_file(self) -> bool:
        """Whether it is a file of the user's choice."""
        return self._path is not None

    @property
    def is_screen(self) -> bool:
        """Whether a person sees it right away."""
        return self._path is None and sys.stdout is not None and sys.stdout.isatty()

    def is_one_of(self, paths: Iterable[Path]) -> bool:
        """Whether the file is one of these, by whatever name."""
        return self._path is not None and any(Path(os.path.realpath(path)) == self._path for path in paths)

    def write(self, text: str) -> None:
        """Write on, at once where it goes to stdout: bytes as they are into a pipe, harmless ones to a terminal."""
        if self._path is not None:
            self._pieces.append(text.encode(errors="replace"))
        elif sys.stdout is None:
            raise OutputError("standard output is closed")
        else:
            _write_to_stdout((harmless(text) if self.is_screen else text).encode(errors="replace"))

    def save(self) -> None:
        """Put the file in its place, if there is one and anything was written."""
        if self._path is None or not self._pieces:
            return
        try:
            _replace(self._path, b"".join(self._pieces))
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror}", hint="Is the disk full?") from error


def _place(path: Path) -> Path:
    """Where a file is replaced: behind links, which stay. A device or a pipe, such as ``/dev/fd/5``, has no other place."""
    return path if path.exists() and not path.is_file() else Path(os.path.realpath(path))


def _write_to_stdout(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        # What is left in the buffer would fail once more when Python ends, with a message of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise
        raise OutputError(f"cannot write to standard output: {error.strerror}", hint="Is the disk full?") from error


def _replace(path: Path, data: bytes) -> None:
    if path.exists() and not (path.is_file() and os.access(path.parent, os.W_OK)):
        path.write_bytes(data)  # a device, a pipe, or a file in a folder that is closed to us cannot be replaced
        return
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
