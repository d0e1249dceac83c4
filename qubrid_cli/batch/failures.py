"""A list of what failed, which ``--from`` reads: so a second run does that alone."""

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from .. import files
from ..errors import OutputError, UsageError
from ..output.record import json_text
from . import entries
from .tasks import ClaimedElsewhere, Failed, Outcome

#: Bytes of the longest line of a list, 16 MiB; a prompt is never as long.
_MAX_LINE_BYTES = 16 << 20


class FailureList:
    """The list; a context manager, at whose end it is put in the place of the old one.

    So a run that is killed leaves the old list, and one that ends early leaves in it what it has not come to. Where
    nothing is left it is empty: easier for scripts than none at all.

    Args:
        prompt: what is asked about images that have no prompt of their own, with the words in it that stand for one.

    Raises:
        UsageError: it cannot be written, or the file is something else.
    """

    def __init__(self, path: Path, prompt: str) -> None:
        self._path = path
        self._prompt = prompt
        self._finished_ids: set[bytes] = set()
        try:
            self._real_path = Path(os.path.realpath(path))
            self._is_regular_file = not path.exists() or stat.S_ISREG(path.stat().st_mode)
            self._previous_ids = (
                {name for name, _ in _read_entries(self._real_path)}
                if self._is_regular_file and path.exists()
                else set()
            )
            self._file: BinaryIO  # closed when the run is over
            if self._is_regular_file:
                open(path, "ab").close()  # it is there from now on, with the user's mode
                self._file = tempfile.TemporaryFile(buffering=0, dir=self._real_path.parent)  # noqa: SIM115
            else:  # a device or a pipe
                self._file = open(path, "wb", buffering=0)  # noqa: SIM115
        except (OSError, ValueError) as error:
            if isinstance(error, _NotFailureListError):
                raise UsageError(
                    f"--failures {path} is not a list of failures, and stays as it is", hint="Name another file."
                ) from error
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UsageError(f"--failures {path} cannot be written: {reason}", hint="Name another file.") from error

    def __enter__(self) -> Self:
        """The list is open by now."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put it in its place, behind what is left of the old one.

        Raises:
            OutputError: it could not be written.
        """
        with self._file:
            if self._is_regular_file:
                try:
                    self._replace_file()
                except OSError as failure:
                    raise self._error_for_write_failure(failure.strerror or str(failure)) from failure

    def _replace_file(self) -> None:
        with files.file_lock(self._real_path):
            mode = stat.S_IMODE(self._real_path.stat().st_mode)
            with files.open_atomic(self._real_path, mode=mode) as new:
                new.writelines(line for name, line in _read_entries(self._real_path) if name not in self._finished_ids)
                self._file.seek(0)
                shutil.copyfileobj(self._file, new)

    def add_outcome(self, outcome: Outcome) -> None:
        """An image is through; if it was given up, it is listed. A line of a list that names none cannot be tried again.

        Raises:
            OutputError: it could not be written.
        """
        if isinstance(outcome, ClaimedElsewhere):
            return
        task = outcome.task
        prompt = self._prompt if task.prompt is None else task.prompt
        if (name := entries.digest(task.source, prompt)) in self._previous_ids:
            self._finished_ids.add(name)
        if isinstance(outcome, Failed) and (error := outcome.record["error"])["code"] != "list":
            again = {"image": task.source, "prompt": prompt, "id": task.id, "error": error}
            self._write(json_text(again).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        try:
            if self._file.write(line) == len(line):
                return
            reason = "no space left"
        except OSError as failure:
            reason = failure.strerror or os.strerror(failure.errno or 0)
        raise self._error_for_write_failure(reason)

    def _error_for_write_failure(self, reason: str) -> OutputError:
        return OutputError(f"cannot write {self._path}: {reason}", hint="Is the disk full?")


class _NotFailureListError(ValueError):
    """The file is something else than a list of failures."""


def _read_entries(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """The lines of a list, each with the name of what it is about; an ``_OtherError`` where it is none."""
    with path.open("rb") as file:
        while line := file.readline(_MAX_LINE_BYTES):
            if not line.strip():
                continue
            try:
                found = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise _NotFailureListError from error
            match found:
                case {"image": str(image), "error": {}}:
                    prompt = found.get("prompt")
                    yield entries.digest(image, prompt if isinstance(prompt, str) else ""), line.rstrip() + b"\n"
                case _:
                    raise _NotFailureListError
