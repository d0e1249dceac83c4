"""Where answers go, stdout or a file; and stderr, where people are told things."""

import errno
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ..errors import OutputError, UsageError
from ..files import write_atomic
from ..text import strip_control_characters


class Output:
    """Where answers go: stdout, or a file that is replaced as a whole when all is done.

    Args:
        path: of the file; ``None`` for stdout.

    Raises:
        UsageError: the file could not be written; better said before an answer is paid for.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._chunks: list[bytes] = []
        self._path: Path | None = None
        self.is_untouched = True
        if path is None or str(path) == "-":
            return
        try:
            self._path = _resolve_target(path)
            if self._path.is_dir():
                raise UsageError(f"-o {path} is a folder", hint="Name a file in it.")
            if not self._path.parent.is_dir():
                raise UsageError(f"-o {path}: there is no folder {self._path.parent}", hint="Make it first.")
            if not os.access(self._path if self._path.exists() else self._path.parent, os.W_OK):
                raise UsageError(f"-o {path} may not be written", hint="Check the permissions.")
        except OSError as error:
            raise UsageError(f"-o {path} cannot be written: {error.strerror}", hint="Name another file.") from error

    @property
    def is_file(self) -> bool:
        """Whether it is a file of the user's choice."""
        return self._path is not None

    @property
    def is_terminal(self) -> bool:
        """Whether a person sees it right away."""
        return self._path is None and sys.stdout is not None and sys.stdout.isatty()

    @property
    def is_stdout_file(self) -> bool:
        """Whether stdout is a file, so that what is written there is seen nowhere else."""
        return sys.stdout is not None and stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)

    def refuse_overwriting(self, paths: Iterable[Path]) -> None:
        """Refuse to write over one of these files, by whatever name; what is said about that goes to stdout then.

        Raises:
            UsageError: it is one of them.
        """
        if self._path is not None and any(Path(os.path.realpath(path)) == self._path for path in paths):
            name, self._path = self._path, None
            raise UsageError(f"-o would write the answer over {name}, which is asked about", hint="Name another file.")

    def write(self, text: str) -> None:
        """Write on, at once where it goes to stdout: bytes as they are into a pipe, harmless ones to a terminal."""
        self.is_untouched = False
        if self._path is not None:
            self._chunks.append(text.encode(errors="replace"))
        elif sys.stdout is None:
            raise OutputError("standard output is closed")
        else:
            with translate_stdout_errors():
                sys.stdout.buffer.write(
                    (strip_control_characters(text) if self.is_terminal else text).encode(errors="replace")
                )
                sys.stdout.buffer.flush()

    def save(self) -> None:
        """Put the file in its place, if there is one and anything was written."""
        if self._path is None or self.is_untouched:
            return
        try:
            _write_file(self._path, b"".join(self._chunks))
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror}", hint="Is the disk full?") from error


def _resolve_target(path: Path) -> Path:
    """Where a file is replaced: behind links, which stay. A device or a pipe, such as ``/dev/fd/5``, has no other place."""
    return path if path.exists() and not path.is_file() else Path(os.path.realpath(path))


@contextmanager
def translate_stdout_errors() -> Iterator[None]:
    """Turns a full disk into one of our errors; a closed pipe goes on to Typer, which ends quietly."""
    try:
        yield
    except OSError as error:
        _redirect_to_devnull(sys.stdout)
        # Windows says EINVAL where a pipe was closed.
        if isinstance(error, BrokenPipeError) or (sys.platform == "win32" and error.errno == errno.EINVAL):
            raise BrokenPipeError(errno.EPIPE, "closed") from error
        raise OutputError(f"cannot write to standard output: {error.strerror}", hint="Is the disk full?") from error


def _redirect_to_devnull(stream: TextIO) -> None:
    """What is left in a buffer would fail once more when Python ends, with a message and an exit code of its own."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def echo_err(text: str, *, end: str = "\n") -> None:
    """Something for people, on stderr. Where that is closed or full nobody listens, and that changes nothing else."""
    if sys.stderr is None:
        return
    try:
        print(text, file=sys.stderr, end=end, flush=True)
    except OSError:
        _redirect_to_devnull(sys.stderr)


def _write_file(path: Path, data: bytes) -> None:
    if path.exists() and not (path.is_file() and os.access(path.parent, os.W_OK)):
        path.write_bytes(data)  # a device, a pipe, or a file in a folder that is closed to us cannot be replaced
        return
    write_atomic(path, data, mode=path.stat().st_mode & 0o777 if path.exists() else None)
