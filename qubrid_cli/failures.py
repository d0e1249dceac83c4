"""A list of what failed, which ``--from`` reads: so a second run does that alone."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from .errors import OutputError, UsageError
from .outcomes import Failed
from .records import json_text


class Failures:
    """The list, begun anew; each line is written when its image is given up. A context manager.

    Where nothing fails it is empty: easier for scripts than none at all.

    Args:
        prompt: what is asked about images that have no prompt of their own, with the words in it that stand for one.

    Raises:
        UsageError: it cannot be written.
    """

    def __init__(self, path: Path, prompt: str) -> None:
        self._path = path
        self._prompt = prompt
        try:
            self._file = open(path, "wb", buffering=0)  # noqa: SIM115  # closed when the run is over
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UsageError(f"--failures {path} cannot be written: {reason}", hint="Name another file.") from error

    def __enter__(self) -> Self:
        """The list is open by now."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self._file.close()

    def add(self, failed: Failed) -> None:
        """An image was given up. A line of a list that names no image is nothing to try again.

        Raises:
            OutputError: it could not be written.
        """
        error = failed.record["error"]
        if error["code"] == "list":
            return
        task = failed.task
        prompt = self._prompt if task.prompt is None else task.prompt
        again = {"image": task.source, "prompt": prompt, "id": task.id, "error": error}
        line = json_text(again).encode() + b"\n"
        try:
            if self._file.write(line) == len(line):
                return
            reason = "no space left"
        except OSError as failure:
            reason = failure.strerror or os.strerror(failure.errno or 0)
        raise OutputError(f"cannot write {self._path}: {reason}", hint="Is the disk full?")
