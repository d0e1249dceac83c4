"""The matches of a search: counted, and printed as they are found or at the end."""

import enum
import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from math import inf
from typing import TYPE_CHECKING

from ..describe.verdicts import Answer, Verdict, read_verdict
from ..frozen import frozen
from ..images.sources import Source
from ..output.names import has_reader, write_name
from ..output.streams import Output
from ..text import escape_control_characters, format_count, json_text
from .entries import Record
from .inputs import Task
from .progress.display import ProgressDisplay
from .results.sharing import AlreadyDone
from .tasks import Done, Skipped

if TYPE_CHECKING:
    from .run import RunItem


class Form(enum.Enum):
    """How matches are printed."""

    NAMES = enum.auto()
    LINES = enum.auto()  #: of JSON, as in a results file
    COUNT = enum.auto()
    NOTHING = enum.auto()


@frozen
class MatchOptions:
    """Which images match, and how they are printed.

    Attributes:
        threshold: the probability from which the answer is yes; see ``verdicts.decide``. ``None`` for the default.
        is_inverted: images match if the answer is no. If it is unsure, an image never matches.
        limit: after this many matches, no more are needed.
        is_nul_separated: names end with NUL instead of a line break.
        has_reasons: beside each name, after a tab, is the probability or the model's reason.
        is_sorted: matches are printed at the end, the most probable first.
    """

    threshold: float | None = None
    is_inverted: bool = False
    limit: float = inf
    form: Form = Form.NAMES
    is_nul_separated: bool = False
    has_reasons: bool = False
    is_sorted: bool = False

    @property
    def prints_at_once(self) -> bool:
        """Whether a match is printed as soon as it is found."""
        return self.form in {Form.NAMES, Form.LINES} and not self.is_sorted


@frozen
class _MatchedImage:
    name: str
    index: int
    record: Record
    verdict: Verdict

    @property
    def rank(self) -> tuple[float, int]:
        """The sort key: the most probable match is first; those without a probability are last, in the order of the images."""
        probability = self.verdict.probability
        return (inf if probability is None else -probability), self.index


class Matches:
    """Takes the answers of a run, and prints the matches among them.

    Args:
        open_source: resolves the image of a task, whose name is printed.

    Attributes:
        count: matches so far.
    """

    def __init__(self, options: MatchOptions, open_source: Callable[[Task], Source]) -> None:
        self.options = options
        self.count = 0
        self._has_reader = True  # of standard output
        self._display = ProgressDisplay()
        self._open_source = open_source
        self._output = Output()
        self._answer_count = self._unsure_count = self._no_probability_count = 0
        self._waiting: list[_MatchedImage] = []

    @property
    def is_complete(self) -> bool:
        """Whether there are as many matches as are needed."""
        return self.count >= self.options.limit

    def add_item(self, item: "RunItem", display: ProgressDisplay) -> bool:
        """Take the answers in an item of a run, and print those that match, if they are printed at once.

        Args:
            display: shows the progress, perhaps on the same terminal.

        Returns:
            Whether more answers are needed.

        Raises:
            OutputError: standard output cannot be written.
        """
        self._display = display
        match item:
            case AlreadyDone():
                for task, record in zip(item.tasks, item.records, strict=True):
                    self._add_answer(task, record)
            case Done() if self.options.form is Form.LINES:
                self._add_answer(item.task, json.loads(item.line))
            case Done() | Skipped(record=dict()):
                self._add_answer(item.task, item.record or {})
        if self.options.form is not Form.NOTHING and self._has_reader:
            self._has_reader = has_reader()
        return self._has_reader and not self.is_complete

    def _add_answer(self, task: Task, record: Record) -> None:
        if self.is_complete or not self._has_reader:
            return
        options, verdict = self.options, read_verdict(record.get("data"), self.options.threshold)
        self._answer_count += 1
        if verdict is None or verdict.answer is Answer.UNSURE:
            self._unsure_count += 1
            return
        self._no_probability_count += verdict.probability is None
        if (verdict.answer is Answer.YES) is options.is_inverted:
            return
        self.count += 1
        if options.form in {Form.NAMES, Form.LINES}:
            kept_record = record if options.form is Form.LINES else {}  # so that a million matches fit into memory
            match = _MatchedImage(self._open_source(task).name, task.index, kept_record, verdict)
            if options.is_sorted:
                self._waiting.append(match)
            else:
                self._print(match)

    def finish(self) -> None:
        """Print the matches that waited for the end, or their number.

        Raises:
            BrokenPipeError: no one reads the output any more.
            OutputError: standard output cannot be written.
        """
        self._waiting.sort(key=lambda match: match.rank)
        for match in self._waiting:
            self._print(match)
        if self.options.form is Form.COUNT:
            self._output.write(f"{self.count}\n")
        if not self._has_reader:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    def _print(self, match: _MatchedImage) -> None:
        try:
            with self._display.hidden() if self._output.is_terminal else nullcontext():
                if self.options.form is Form.LINES:
                    data = match.record | {"data": match.verdict.to_dict()}
                    self._output.write(f"{json_text(data)}\n")
                else:
                    write_name(match.name, self._format_end(match.verdict))
        except BrokenPipeError:
            self._has_reader = False

    def _format_end(self, verdict: Verdict) -> str:
        """Format what follows a name: the reason, always on the same line, and the character that ends the name."""
        end = "\0" if self.options.is_nul_separated else "\n"
        if not self.options.has_reasons:
            return end
        if verdict.probability is not None:
            return f"\t{verdict.probability:.3g}{end}"
        reason = " ".join((verdict.reason or verdict.answer).split())
        return f"\t{escape_control_characters(reason)}{end}"

    def format_summary(self) -> Iterator[str]:
        """The lines of the summary that are about the matches."""
        unsure = f", {self._unsure_count:,} unsure" if self._unsure_count else ""
        yield f"matches: {self.count:,} of {self._answer_count:,} images{unsure}"
        effects = ["--threshold has no effect"] if self.options.threshold is not None else []
        effects += ["--sort puts them last"] if self.options.is_sorted else []
        if effects and self._no_probability_count:
            answers = format_count(self._no_probability_count, "answer has", "answers have")
            yield f"note: {answers} no probability, because the endpoint returned none: {' and '.join(effects)}"
