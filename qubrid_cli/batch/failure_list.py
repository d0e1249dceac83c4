"""A list of failed images, which ``--from`` reads so that another run retries only those."""

import errno
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self

from .. import files
from ..errors import OutputError, UsageError
from ..text import json_text, quote_name
from . import entries
from .tasks import Failed, Outcome, SidecarFailed

#: Bytes of the longest line of a list, 16 MiB; no prompt is this long.
_MAX_LINE_BYTES = 16 << 20


class FailureList:
    """A failure list, which replaces the previous one at the end of the run. A context manager.

    A run that is killed leaves the previous list as it was; one that ends early keeps the entries that it did not reach.
    If no image failed, the list is an empty file, so scripts can rely on it.

    Args:
        prompt: for images without a prompt of their own, with its placeholders.

    Raises:
        UsageError: the file cannot be written, or is not a failure list.
    """

    def __init__(self, path: Path, prompt: str) -> None:
        self._path = path
        self._prompt = prompt
        self._finished_ids: set[bytes] = set()
        self._previous_ids: set[bytes] = set()
        self._file: BinaryIO  # closed at the end of the run
        try:
            self._real_path = Path(os.path.realpath(path))
            self._is_regular_file = not path.exists() or stat.S_ISREG(path.stat().st_mode)
            if self._is_regular_file:
                if path.exists():
                    self._previous_ids = {entry_id for entry_id, _ in _read_entries(self._real_path)}
                open(path, "ab").close()  # the file exists from now on, with the mode of the user's umask
                self._file = tempfile.TemporaryFile(buffering=0, dir=self._real_path.parent)  # noqa: SIM115  # see above
            else:  # a device or a pipe
                self._file = open(path, "wb", buffering=0)  # noqa: SIM115  # see above
        except _NotFailureListError as error:
            message = f"--failures {quote_name(path)} is not a failure list, and was not changed"
            raise UsageError(message, hint="Name another file.") from error
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UsageError(
                f"--failures {quote_name(path)} cannot be written: {reason}", hint="Name another file."
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Replace the previous list.

        Raises:
            OutputError: the file could not be written.
        """
        try:
            with self._file:
                if self._is_regular_file:
                    self._replace_file()
        except OSError as error:
            raise self._build_write_error(error) from error

    def _replace_file(self) -> None:
        with files.file_lock(self._real_path):
            mode = stat.S_IMODE(self._real_path.stat().st_mode)
            with files.open_atomic(self._real_path, mode=mode) as new:
                previous = _read_entries(self._real_path)
                new.writelines(line for entry_id, line in previous if entry_id not in self._finished_ids)
                self._file.seek(0)
                shutil.copyfileobj(self._file, new)

    def add_outcome(self, outcome: Outcome) -> None:
        """Record that an image is finished, and list it if it failed.

        An invalid line of the input list is not listed: it names no image that could be retried.

        Raises:
            OutputError: the entry could not be written.
        """
        task = outcome.task
        prompt = self._prompt if task.prompt is None else task.prompt
        if (entry_id := entries.digest(task.source, prompt)) in self._previous_ids:
            self._finished_ids.add(entry_id)
        if isinstance(outcome, Failed | SidecarFailed) and (error := outcome.record["error"])["code"] != "list":
            entry = {**(task.row or {}), "image": task.source, "prompt": prompt, "id": task.id, "error": error}
            self._write(json_text(entry).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise self._build_write_error(error) from error

    def _build_write_error(self, error: OSError) -> OutputError:
        return OutputError(
            f"cannot write {quote_name(self._path)}: {error.strerror or error}", hint="Is the disk full?"
        )


class _NotFailureListError(ValueError):
    """The file is not a failure list."""


def _read_entries(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Read the lines of a failure list, each with an id of its image and prompt.

    Raises:
        _NotFailureListError: a line is not an entry of a failure list.
    """
    with path.open("rb") as file:
        while line := file.readline(_MAX_LINE_BYTES):
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise _NotFailureListError from error
            match entry:
                case {"image": str(image), "prompt": str(prompt), "error": {}}:
                    yield entries.digest(image, prompt), line.rstrip() + b"\n"
                case {"image": str(image), "error": {}}:
                    yield entries.digest(image, ""), line.rstrip() + b"\n"
                case _:
                    raise _NotFailureListError
