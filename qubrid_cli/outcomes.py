"""How an image of a run ends: with an answer, without one, or as known before; and what is written of that."""

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

from . import entries, finding, work
from .entries import Record
from .errors import EndpointError, ImageError
from .finding import Task
from .frozen import frozen
from .sidecars import Sidecars
from .sources import Source
from .work import Answer, Question, Read


@frozen
class Done:
    """An image with its answer; ``line`` is the one of the results file.

    Attributes:
        is_copy: the answer is that of the same image under another name.
        key: what it was asked by, if it was asked about.
    """

    task: Task
    record: Record
    line: bytes
    is_copy: bool = False
    key: str | None = None


@frozen
class Failed:
    """An image that has no answer, or not the whole of it; otherwise like ``Done``."""

    task: Task
    record: Record
    line: bytes
    is_copy: bool = False
    key: str | None = None


@frozen
class Skipped:
    """An image whose answer stands in the results file already."""

    task: Task


@frozen
class Passed(Skipped):
    """An image that another run is seeing to: it is found once more when that one is through with it."""

    key: str


@frozen
class Waiting:
    """Nothing has happened for a moment."""


Outcome = Done | Failed | Skipped
Item = Outcome | Waiting


def _without_words(answer: Answer) -> Answer:
    """An answer that nobody could keep."""
    longest = f"{entries.MAX_LINE >> 20} MiB"
    error = EndpointError(f"the answer is longer than {longest}", hint="Lower --max-tokens.", code="too_long")
    wordless = answer.record | {"complete": False, "text": "", "data": None, "reasoning": None, "warnings": []}
    return work.failed(replace(answer, record=wordless), error)


class Clerk:
    """Writes up how images end.

    Args:
        sidecars: the files beside the images, if there are to be any; one that has no place costs its image.
    """

    def __init__(self, question: Question, sidecars: Sidecars | None = None) -> None:
        self._question = question
        self._sidecars = sidecars

    def ended(self, task: Task, key: str | None, answer: Answer, *, attempts: int) -> Done | Failed:
        """An image was asked about so many times, and this is what came of it."""
        line = entries.line(answer.record, index=task.index, key=key, attempts=attempts, source_id=task.id)
        if len(line) > entries.MAX_LINE:
            return self.ended(task, key, _without_words(answer), attempts=attempts)
        return (Done if answer.error is None else Failed)(task, answer.record, line, key=key)

    def spoilt(self, task: Task, key: str | None, error: ImageError) -> Done | Failed:
        """An image cannot be asked about."""
        return self.ended(task, key, work.unanswered(task, self._question, error), attempts=0)

    def copied(self, read: Read, record: Record) -> Done | Failed:
        """An image is the same as another one, whose record this is: not asked about, and not paid for, again."""
        task = read.task
        answer = Answer(entries.duplicate(record, source=read.source.name))
        if record["ok"]:
            answer = self._with_sidecar(task, answer, lambda sidecars, source: sidecars.claim(source))
        first = record["images"][0]["source"]
        line = entries.line(
            answer.record, index=task.index, key=read.key, attempts=0, source_id=task.id, duplicate_of=first
        )
        return (Done if answer.record["ok"] else Failed)(task, answer.record, line, is_copy=True)

    def known(self, read: Read, record: Record) -> Outcome:
        """An image was done before; only the file beside it may be missing.

        Args:
            record: empty where another run is seeing to it.
        """
        if not record:
            return Passed(read.task, read.key)
        task, answer = read.task, Answer(record)
        answer = self._with_sidecar(task, answer, lambda sidecars, source: sidecars.complete(source, record))
        return Skipped(task) if answer.error is None else self.ended(task, None, answer, attempts=0)

    def written(self, outcome: Outcome) -> None:
        """The line of an image is written, so the file beside it may be.

        Raises:
            ImageError: something else has come there since that place was claimed.
            OutputError: it could not be written.
        """
        if self._sidecars is not None and isinstance(outcome, Done):
            self._sidecars.write(finding.source_of(outcome.task, BytesIO()), outcome.record)

    def _with_sidecar(self, task: Task, answer: Answer, act: Callable[[Sidecars, Source], None]) -> Answer:
        if self._sidecars is not None and answer.error is None:
            try:
                act(self._sidecars, finding.source_of(task, BytesIO()))
            except ImageError as error:
                return work.failed(answer, error)
        return answer
