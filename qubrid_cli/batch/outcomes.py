"""Turn the results of attempts into outcomes of images: lines of the results file, and sidecars."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ..describe.record import json_error
from ..errors import EndpointError, ImageError, OutputError, QvisionError
from . import entries
from .entries import Record
from .inputs import Task
from .results.lines import MAX_LINE_BYTES, Question
from .tasks import (
    AttemptResult,
    BatchPlan,
    Done,
    Failed,
    LoadedImage,
    SidecarFailed,
    Skipped,
    build_question,
    build_unsent_result,
)

if TYPE_CHECKING:
    from .sidecars.writer import Sidecars


class OutcomeWriter:
    """Builds the outcomes of images, and writes their sidecars.

    Args:
        count_incomplete: how often the answer with a key was incomplete in earlier runs.
    """

    def __init__(
        self,
        plan: BatchPlan,
        sidecars: "Sidecars | None" = None,
        count_incomplete: Callable[[str, Question], int] = lambda _key, _question: 0,
    ) -> None:
        self.sidecars = sidecars
        self._plan = plan
        self._count_incomplete = count_incomplete

    def build_outcome(self, task: Task, key: str | None, result: AttemptResult, *, attempts: int) -> Done | Failed:
        """Build the outcome of an image from the result of its last attempt."""
        record, incomplete_attempts = result.record, 0
        if key is not None and not record["ok"]:
            question = build_question(task, record["images"][0]["source"], record["prompt"], key)
            incomplete_attempts = self._count_incomplete(key, question) + entries.is_incomplete(record)
        line = entries.encode_line(record, task, key=key, attempts=attempts, incomplete_attempts=incomplete_attempts)
        if len(line) > MAX_LINE_BYTES:
            return self.build_outcome(task, key, _drop_text(result), attempts=attempts)
        return (Done if result.error is None else Failed)(task, result.record, line, key=key)

    def build_failure(self, task: Task, key: str | None, error: ImageError) -> Done | Failed:
        """Build the outcome of an image that cannot be sent."""
        return self.build_outcome(task, key, build_unsent_result(task, self._plan.batch_request, error), attempts=0)

    def build_duplicate(self, loaded: LoadedImage, record: Record) -> Done | Failed:
        """Build the outcome of an image that equals the one of a record, so that no request is needed."""
        task = loaded.task
        result = AttemptResult(entries.copy_for_duplicate(record, source=loaded.source.name))
        if self.sidecars is not None and record["ok"]:
            try:
                self.sidecars.claim(self._plan.open_source(task))
            except ImageError as error:
                result = _mark_failed(result, error)
        original = record["images"][0]["source"]
        line = entries.encode_line(result.record, task, key=loaded.key, attempts=0, duplicate_of=original)
        return (Done if result.record["ok"] else Failed)(task, result.record, line, is_duplicate=True)

    def build_skipped(self, loaded: LoadedImage, record: Record) -> Skipped | SidecarFailed:
        """Build the outcome of an image whose answer is in the results file, and write the sidecars that it lacks."""
        task = loaded.task
        if self.sidecars is not None:
            try:
                self.sidecars.write_missing(self._plan.open_source(task), record)
            except (ImageError, OutputError) as error:
                return SidecarFailed(task, _mark_failed(AttemptResult(record), error).record, error)
        return Skipped(task, record)

    def write_sidecars(self, outcome: Done) -> Done | SidecarFailed:
        """Write the sidecars of an image, whose line must already be in the results file; return its final outcome."""
        if self.sidecars is not None:
            try:
                record = json.loads(outcome.line) if self.sidecars.has_corrections else outcome.record
                self.sidecars.write(self._plan.open_source(outcome.task), record)
            except (ImageError, OutputError) as error:
                record = _mark_failed(AttemptResult(outcome.record), error).record
                return SidecarFailed(outcome.task, record, error, is_duplicate=outcome.is_duplicate)
        return outcome


def _mark_failed(result: AttemptResult, error: QvisionError) -> AttemptResult:
    """Turn a result into a failure."""
    return replace(result, record={**result.record, "ok": False, "error": json_error(error)}, error=error)


def _drop_text(result: AttemptResult) -> AttemptResult:
    """Turn an answer that is too long for the results file into a failure without its text."""
    limit = f"{MAX_LINE_BYTES >> 20} MiB"
    error = EndpointError(f"the answer is longer than {limit}", hint="Lower --max-tokens.", code="too_long")
    record = result.record | {"complete": False, "text": "", "data": None, "reasoning": None, "warnings": []}
    return _mark_failed(replace(result, record=record), error)
