"""Where output goes: answers to stdout or a file, messages for people to stderr."""

import errno
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol, TextIO

from ..errors import OutputError, QvisionError, UsageError
from ..files import open_atomic
from ..frozen import frozen
from ..operating_system import IS_WINDOWS, get_pipe_encoding
from ..text import quote_name, strip_control_characters
from . import appearance


class _Target(Protocol):
    """A file or an object that gets the output at the end of the run."""

    @property
    def name(self) -> str:
        """Its path or URL."""

    def exists(self) -> bool:
        """Whether writing would replace something."""

    def is_same_file(self, path: Path) -> bool:
        """Whether a path leads to this file, also through links."""

    def write(self, data: bytes) -> None:
        """Write the whole content.

        Raises:
            OutputError: the target cannot be written.
        """

    def open(self) -> AbstractContextManager[BinaryIO]:
        """Open a file that moves to its place at the end of the block, and is deleted if the block raises.

        Raises:
            OutputError: the target cannot be written.
        """


class ByteSink(Protocol):
    """A destination to which bytes are written in order, such as a pipe."""

    def write(self, data: bytes, /) -> object:
        """Write bytes."""

    def flush(self) -> None:
        """Pass on buffered bytes."""


class Output:
    """Where answers go: stdout, or a file that is replaced at the end of the run.

    Args:
        path: the file, or the URL of an object in a bucket; ``None`` or ``-`` for stdout.
        option: the option that names the file, for messages.

    Attributes:
        is_untouched: whether nothing has been written yet.
        has_answer: whether a successful answer has been written.

    Raises:
        QvisionError: the file cannot be written. This is checked before an answer is paid for.
    """

    def __init__(self, path: str | None = None, option: str = "-o") -> None:
        self._option = option
        self._chunks: list[bytes] = []
        self._target: _Target | None = None
        self._heading = ""
        self.is_untouched = True
        self.has_answer = False
        if path is not None and path != "-":
            self._target = _open_target(path, option)

    @property
    def is_file(self) -> bool:
        """Whether the output goes to the file of ``-o``."""
        return self._target is not None

    @property
    def is_terminal(self) -> bool:
        """Whether the output goes to a terminal."""
        return self._target is None and sys.stdout is not None and sys.stdout.isatty()

    @property
    def is_stdout_file(self) -> bool:
        """Whether the shell redirects stdout to a file."""
        return sys.stdout is not None and stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)

    def refuse_overwriting(self, paths: Iterable[Path]) -> None:
        """Refuse to replace an input file, also through links. After that, output goes to stdout.

        Raises:
            UsageError: the file of ``-o`` is one of these.
        """
        if self._target is not None and any(map(self._target.is_same_file, paths)):
            name, self._target = self._target.name, None
            message = f"{self._option} would overwrite {quote_name(name)}, which is an input"
            raise UsageError(message, hint="Name another file.")

    def begin_section(self, heading: str = "") -> None:
        """Begin the next text with a heading, if one is given, after an empty line if there is text above."""
        line = f"{heading}\n" if heading else ""
        self._heading = line if self.is_untouched else f"\n{line}"

    def write(self, text: str, *, is_styled: bool = False) -> None:
        """Write text: to a file at the end, to stdout at once; a terminal gets it without control characters.

        Args:
            is_styled: the control characters in the text are our own.

        Raises:
            OutputError: stdout cannot be written.
            BrokenPipeError: the reader has closed the pipe.
        """
        text, self._heading = self._heading + text, ""
        self.is_untouched = False
        if self._target is not None:
            self._chunks.append(text.encode(errors="replace"))
        elif sys.stdout is None:
            raise OutputError("standard output is closed")
        else:
            encoding = sys.stdout.encoding
            if self.is_terminal:
                text = text if is_styled else strip_control_characters(text)
            else:
                encoding = get_pipe_encoding(encoding, os.environ)
            with translate_stdout_errors():
                sys.stdout.buffer.write(text.encode(encoding, errors="replace"))
                sys.stdout.buffer.flush()

    def write_image(self, data: bytes) -> None:
        """Write an image: to the file at once, or to stdout; errors as in ``write``, and ``OutputError`` for the file."""
        if self._target is not None:
            self._target.write(data)
            return
        with translate_stdout_errors():
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

    def save(self, *, may_replace: bool = True) -> None:
        """Write the file of ``-o``, if there is anything to write. If it cannot be written, its text goes to stdout.

        Args:
            may_replace: if false, an existing file stays, and the text goes to stdout, so that it is not lost.

        Raises:
            OutputError: the file cannot be written.
        """
        if self._target is None or self.is_untouched:
            return
        data = b"".join(self._chunks)
        if not may_replace and self._target.exists():
            echo_note(f"{quote_name(self._target.name)} was not replaced; the text is on standard output instead")
            Output().write(data.decode())
            return
        try:
            self._target.write(data)
        except OutputError as error:
            Output().write(data.decode())
            message = f"{error.message}; the text is on standard output instead"
            raise error.with_message(message, hint=error.hint) from error


def _open_target(name: str, option: str = "-o") -> _Target:
    """Return the file or object with this name, after a check that it can probably be written.

    Raises:
        UsageError: it cannot be written.
        ConfigError | StorageError: the bucket cannot be used.
    """
    if "://" in name:
        from ..urls import is_object_folder, is_object_url

        if is_object_url(name):
            if is_object_folder(name):
                raise UsageError(f"{option} {quote_name(name)} is a folder", hint="Name an object in it.")
            from ..storage.opening import exists_object

            return _ObjectTarget(name, is_existing=exists_object(name))
    path = Path(name)
    try:
        file = _FileTarget(_resolve_links(path))
        file.validate(f"{option} {quote_name(name)}")
    except OSError as error:
        raise UsageError(
            f"{option} {quote_name(name)} cannot be written: {error.strerror}", hint="Name another file."
        ) from error
    return file


def _resolve_links(path: Path) -> Path:
    """Follow symbolic links, so that the link is not replaced; but not those to devices and pipes, such as ``/dev/fd/5``."""
    return path if path.exists() and not path.is_file() else Path(os.path.realpath(path))


@frozen
class _FileTarget:
    path: Path

    @property
    def name(self) -> str:
        return str(self.path)

    def validate(self, option: str) -> None:
        """Check that the file can probably be written; ``option``, with its value, begins the messages."""
        if self.path.is_dir():
            raise UsageError(f"{option} is a folder", hint="Name a file in it.")
        if not self.path.parent.is_dir():
            raise UsageError(f"{option}: there is no folder {quote_name(self.path.parent)}", hint="Create it first.")
        if not os.access(self.path if self.path.exists() else self.path.parent, os.W_OK):
            raise UsageError(f"{option} is not writable", hint="Check the permissions.")

    def exists(self) -> bool:
        return self.path.is_file()

    def is_same_file(self, path: Path) -> bool:
        return Path(os.path.realpath(path)) == self.path

    def write(self, data: bytes) -> None:
        with self.open() as file:
            file.write(data)

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        path = self.path
        try:
            if path.exists() and not (path.is_file() and os.access(path.parent, os.W_OK)):
                with path.open("wb") as file:  # a device, a pipe, or a file in a read-only folder cannot be replaced
                    yield file
            else:
                with open_atomic(path, mode=path.stat().st_mode & 0o777 if path.exists() else None) as file:
                    yield file
        except OSError as error:
            is_open = IS_WINDOWS and isinstance(error, PermissionError)
            hint = "Close the program that has the file open." if is_open else "Is the disk full?"
            raise OutputError(f"cannot write {quote_name(path)}: {error.strerror}", hint=hint) from error


@frozen
class _ObjectTarget:
    name: str
    is_existing: bool

    def exists(self) -> bool:
        return self.is_existing

    def is_same_file(self, path: Path) -> bool:
        return str(path) == self.name

    def write(self, data: bytes) -> None:
        from ..storage.opening import write_object

        write_object(self.name, data)

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        from tempfile import TemporaryDirectory

        from ..storage.opening import upload_file

        with TemporaryDirectory(prefix="qvision-") as folder:
            path = Path(folder, "output")
            with path.open("wb") as file:
                yield file
            upload_file(self.name, path)


@contextmanager
def open_sink(path: str | None, *, is_text: bool) -> Iterator[ByteSink]:
    """Open the destination of large output, which is not kept in memory; a file is replaced at the end of the block.

    Args:
        path: the file, or the URL of an object in a bucket; ``None`` or ``-`` for stdout.
        is_text: whether the output is text, which a terminal gets without control characters.

    Raises:
        UsageError: the output is not text and would go to a terminal, or the file cannot be written.
        OutputError: writing failed.
    """
    if path is not None and path != "-":
        with _open_target(path).open() as file:
            yield file
        return
    if not is_text and Output().is_terminal:
        raise UsageError("this output is not text, so a terminal cannot show it", hint="Write it to a file: -o FILE")
    sink = _StdoutSink(Output(), is_text=is_text)
    yield sink
    sink.flush()


class _StdoutSink:
    """Standard output; text is written as ``Output`` writes it."""

    def __init__(self, output: Output, *, is_text: bool) -> None:
        self._output = output
        self._is_text = is_text

    def write(self, data: bytes) -> None:
        if self._is_text or sys.stdout is None:
            self._output.write(data.decode())
            return
        with translate_stdout_errors():
            sys.stdout.buffer.write(data)

    def flush(self) -> None:
        if sys.stdout is not None:
            with translate_stdout_errors():
                sys.stdout.buffer.flush()


@contextmanager
def translate_stdout_errors() -> Iterator[None]:
    """Raise ``OutputError`` if stdout cannot be written, or ``BrokenPipeError``, which Typer handles, for a closed pipe."""
    try:
        yield
    except OSError as error:
        _redirect_to_devnull(sys.stdout)
        # On Windows a closed pipe is EINVAL.
        if isinstance(error, BrokenPipeError) or (IS_WINDOWS and error.errno == errno.EINVAL):
            raise BrokenPipeError(errno.EPIPE, "closed") from error
        raise OutputError(f"cannot write to standard output: {error.strerror}", hint="Is the disk full?") from error


def _redirect_to_devnull(stream: TextIO) -> None:
    """Discard buffered text, which Python would fail to write at exit, with its own message and exit code."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, stream.fileno())
    os.close(devnull)


class TolerantStream:
    """A text stream that ignores errors, because a terminal may be closed while the program finishes its work."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text, if that is possible."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream, if that is possible."""
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        """Return any other attribute of the stream."""
        return getattr(self._stream, name)


def echo_err(text: str, *, end: str = "\n") -> None:
    """Print text for people on stderr; errors such as a closed pipe or a full disk are ignored."""
    if sys.stderr is None:
        return
    try:
        print(text, file=sys.stderr, end=end, flush=True)
    except OSError:
        _redirect_to_devnull(sys.stderr)


def echo_note(text: str) -> None:
    """Print a note for people on stderr; on a terminal wrapped at words."""
    echo_prose(f"note: {text}")


def echo_prose(text: str) -> None:
    """Print sentences for people on stderr; on a terminal wrapped at words."""
    echo_err(appearance.wrap(text, sys.stderr))


def echo_error(error: QvisionError) -> None:
    """Print an error and its hint on stderr; on a terminal, wrapped at words and marked with color."""
    report = appearance.wrap(error.format_report(), sys.stderr)
    if appearance.has_color(sys.stderr):
        report = re.sub("^error:", "\x1b[1;31merror:\x1b[0m", report, count=1)
        report = re.sub("^hint:", "\x1b[36mhint:\x1b[0m", report, flags=re.MULTILINE)
    echo_err(report)
