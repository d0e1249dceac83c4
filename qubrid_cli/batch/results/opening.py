"""Open what runs have written, for reading: files, runs in parts, objects in buckets, standard input."""

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Self

from ...errors import MissingObjectError, StorageError, UsageError, find_shortage
from ...storage.folder import StorageOptions
from ...storage.opening import exists_object, open_object
from ...text import find_encoding, format_count, json_text, quote_name
from ...urls import is_object_folder, is_object_url
from .corrections import CORRECTIONS_FILE, Corrections

if TYPE_CHECKING:
    from ...storage.folder import Folder

#: Bytes that are copied at once.
_COPY_BYTES = 1 << 20
_PARQUET_HEAD = b"PAR1"
_HINT = "Name files that qvision batch has written with -o, or the folder of a run in parts."


class OpenResults(NamedTuple):
    """An open file with results.

    Attributes:
        name: as messages show it.
        folder: to which the paths of its records are relative.
        corrections_file: where corrections of its results belong; ``None`` if it is not a local file.
    """

    file: BinaryIO
    name: str
    folder: str
    corrections_file: Path | None = None


class ResultsFiles:
    """The open files of some results, and their corrections. A context manager.

    Args:
        locations: files, folders and bucket URLs of runs in parts, URLs of objects, ``-`` for standard input.
        stdin: standard input.
        target: the file that will be written, which must not be one of a run in parts.

    Attributes:
        notes: what the user should know about the files.
        paths: of the results files and their corrections, if they are on this machine.
        corrections_file: where corrections of the first local file belong; ``None`` if there is none.

    Raises:
        UsageError: something else than results is named.
        ConfigError | StorageError: one cannot be read.
    """

    def __init__(self, locations: Sequence[str], stdin: BinaryIO | None = None, target: str | None = None) -> None:
        self.files: list[OpenResults] = []
        self.corrections = Corrections()
        self.corrections_file: Path | None = None
        self.notes: list[str] = []
        self.paths: list[Path] = []
        self._stdin = stdin
        self._target = target
        self._corrections_files: set[Path] = set()
        with ExitStack() as stack:
            self._stack = stack
            for location in locations:
                self._open(location)
            self._stack = stack.pop_all()
        self.notes += self.corrections.format_notes()

    def __enter__(self) -> Self:
        """The files stay open until the block ends."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        self._stack.close()

    def _open(self, location: str) -> None:
        if location == "-":
            assert self._stdin is not None
            self._add(self._copy(_read_chunks(self._stdin)), "standard input", os.getcwd())
        elif os.path.isdir(location):
            self._open_parts(location, os.path.realpath(location))
        elif not is_object_url(location):
            self._open_file(location)
        elif is_object_folder(location) or not _has_object(location):
            self._open_parts(location, os.getcwd())
        else:
            with open_object(location, StorageOptions()) as stream:
                self._add(self._copy(_read_chunks(stream)), quote_name(location), os.getcwd())

    def _open_file(self, name: str) -> None:
        try:
            file: BinaryIO = self._stack.enter_context(open(name, "rb"))  # noqa: SIM115  # closed with all others
            is_pipe = not file.seekable()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            hint = _HINT if isinstance(error, FileNotFoundError) else "Check its permissions."
            hint = "Name fewer files at once." if find_shortage(error) else hint
            raise StorageError(f"cannot read {quote_name(name)}: {reason}", hint=hint) from error
        folder = os.getcwd() if is_pipe else os.path.dirname(os.path.realpath(name))
        self.paths.append(Path(name))
        if not is_pipe:
            self._add_corrections(Path(folder))
        if os.path.basename(name) != CORRECTIONS_FILE:  # which a pattern such as *.jsonl names too
            self._add(
                self._copy(_read_chunks(file)) if is_pipe else file, quote_name(name), folder, is_local=not is_pipe
            )

    def _open_parts(self, location: str, folder: str) -> None:
        from ..parts.join import count_unfinished, join_parts, open_run  # loads httpx

        output = open_run(location, self._target)
        is_local = not is_object_url(location)
        chunks = chain(join_parts(output), map(output.read_partial, output.list_begun()))
        self._add(self._copy(chunks), quote_name(location), folder, is_local=is_local)
        if count := count_unfinished(output):
            parts = format_count(count, "part")
            self.notes.append(
                f"unfinished: {parts} of {quote_name(location)}; answers that were saved so far are included"
            )
        if is_local:
            self._add_corrections(Path(folder))
        else:
            self._add_stored_corrections(output.folder)

    def _copy(self, chunks: Iterable[bytes]) -> BinaryIO:
        """Copy to a temporary file what cannot be read at any position."""
        file: BinaryIO = self._stack.enter_context(tempfile.TemporaryFile(prefix="qvision-"))  # noqa: SIM115  # closed with all others
        file.writelines(chunks)
        file.flush()
        return file

    def _add(self, file: BinaryIO, name: str, folder: str, *, is_local: bool = False) -> None:
        """Add a file with lines in UTF-8; Parquet, and the UTF-16 that PowerShell writes, are converted."""
        file.seek(0)
        head = file.read(4)
        file.seek(0)
        if head == _PARQUET_HEAD:
            file = self._copy(_read_parquet(file, name))
        elif find_encoding(head) == "utf-16":
            file = self._copy([_decode(file.read(), name)])
        corrections_file = Path(folder, CORRECTIONS_FILE) if is_local else None
        self.files.append(OpenResults(file, name, folder, corrections_file))

    def _add_corrections(self, folder: Path) -> None:
        path = folder / CORRECTIONS_FILE
        if path not in self._corrections_files:
            self.corrections.read_file(path)
            self._corrections_files.add(path)
            self.paths.append(path)
            self.corrections_file = self.corrections_file or path

    def _add_stored_corrections(self, folder: "Folder") -> None:
        try:
            data = folder.read(CORRECTIONS_FILE)
        except MissingObjectError:
            return
        self.corrections.add_lines(data.splitlines(), name=folder.url + CORRECTIONS_FILE)


def _has_object(url: str) -> bool:
    """Whether a URL names an object, and not a folder without a slash at the end."""
    return "." in url.rpartition("/")[2] or exists_object(url)


def _read_chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_COPY_BYTES):
        yield chunk


def _read_parquet(file: BinaryIO, name: str) -> Iterator[bytes]:
    from ...output.parquet import read_records  # loads pyarrow

    try:
        for record in read_records(file, name):
            yield json_text(record).encode() + b"\n"
    except StorageError as error:
        raise build_foreign_file_error(name) from error


def _decode(data: bytes, name: str) -> bytes:
    try:
        return data.decode("utf-16").encode(errors="replace")
    except UnicodeDecodeError as error:
        raise build_foreign_file_error(name) from error


def build_foreign_file_error(name: str) -> UsageError:
    """The error for a file that holds something else, by its name in messages."""
    return UsageError(f"{name} is not a results file", hint=_HINT)
