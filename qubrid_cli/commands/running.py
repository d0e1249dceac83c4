"""A run while it goes on: what it is over, where its lines go, signals, progress, and how it ends."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO

from ..errors import QvisionError, StoppedError, UnfinishedError
from ..output import Output, say
from . import asking

if TYPE_CHECKING:
    from types import FrameType

    from ..batch import Rules, Run
    from ..budget import Limits
    from ..counting import Count
    from ..finding import Choice, Found, Task
    from ..journal import Journal
    from ..outcomes import Outcome
    from ..pace import Gate
    from ..settings import Settings
    from ..sidecars import Kind
    from ..sources import Source
    from ..tally import Tally
    from ..work import Question

#: Seconds between the lines that tell of progress where stderr is no terminal.
_EVERY = 30.0


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a run is over; each time it is gone through from its start."""

    arguments: tuple[str, ...]
    listed: Path | BinaryIO | None
    nul: bool
    choose: "Choice"

    def find(self) -> "Iterator[Found]":
        """One image after the other."""
        from .. import finding, listing

        if self.listed is None:
            yield from finding.find(self.arguments, choose=self.choose)
            return
        with open(self.listed, "rb") if isinstance(self.listed, Path) else nullcontext(self.listed) as stream:
            yield from finding.find(self.arguments, listed=listing.read(stream, nul=self.nul), choose=self.choose)

    def find_again(self) -> "Iterator[Found] | None":
        """The same, to be counted; ``None`` where it can be read only once."""
        can_be_read_twice = self.listed is None or (isinstance(self.listed, Path) and self.listed.is_file())
        return self.find() if can_be_read_twice else None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is going to be done."""

    inputs: Inputs
    question: "Question"
    settings: "Settings"
    key: str | None
    stdin: BinaryIO
    fetch: bool | None
    rules: "Rules"
    gate: "Gate"
    limits: "Limits"
    results: Path | None
    failures: Path | None
    sidecar: "Kind | None"
    is_quiet: bool

    def opened(self, task: "Task") -> "Source":
        """Where the bytes of an image are."""
        from .. import finding

        (image,) = asking.images([finding.source_of(task, self.stdin)], self.settings, fetch=self.fetch)
        return image


def foretell(plan: Plan) -> None:
    """Print what a run would do, and do nothing."""
    from ..forecast import forecast
    from ..journal import Journal

    with ExitStack() as stack:
        settled = None
        if plan.results is not None and plan.results.exists() and not plan.rules.is_forced:
            settled = stack.enter_context(Journal(plan.results)).settled
        found = forecast(plan.inputs.find(), plan.question, settled, plan.opened)
    target = Output()
    price = plan.question.prices.get(plan.settings.model)
    for line in found.lines(price, plan.settings.max_tokens):
        target.write(f"{line}\n")


def run(plan: Plan) -> None:
    """Do it, and say how it went.

    Raises:
        QvisionError: what it ended with, if not all images are through and fine.
    """
    from ..counting import Count
    from ..failures import Failures
    from ..outcomes import Failed, Skipped
    from ..tally import Tally

    target, tally = Output(), Tally()
    count = Count(None if plan.is_quiet else plan.inputs.find_again())
    with ExitStack() as stack:
        journal = stack.enter_context(_journal(plan, stack))
        failures = None if plan.failures is None else stack.enter_context(Failures(plan.failures))
        begun = _begun(plan, journal)

        def keep(outcome: "Outcome") -> None:
            if isinstance(outcome, Skipped):
                return
            journal.append(outcome.line)
            if plan.results is None:
                target.write(outcome.line.decode())
            if failures is not None and isinstance(outcome, Failed):
                failures.add(outcome)

        is_shown = not plan.is_quiet and not (plan.results is None and target.is_screen)
        with _heeding_signals(begun), _progress(tally, is_shown=is_shown) as show:
            _pull(begun, keep, tally, count=count, gate=plan.gate, show=show)
    if tally.finished == 0 and begun.stopped is None:
        say("note: no image was found")
    elif not plan.is_quiet:
        for line in tally.summary(jobs=plan.gate.jobs.told):
            say(line)
    _end(begun.stopped, tally, count, can_go_on=plan.results is not None)


def _journal(plan: Plan, stack: ExitStack) -> "Journal":
    """The results file; where lines go to stdout, a file for the time of the run, by which equal images are known."""
    from ..journal import Journal

    if plan.results is not None:
        return Journal(plan.results, keeps_texts=plan.sidecar is not None)
    return Journal(Path(stack.enter_context(TemporaryDirectory(prefix="qvision-"))) / "results.jsonl")


def _begun(plan: Plan, journal: "Journal") -> "Run":
    from ..batch import Run
    from ..budget import Budget
    from ..crew import Crew
    from ..outcomes import Clerk
    from ..sidecars import Sidecars

    sidecars = None
    if plan.sidecar is not None:
        sidecars = Sidecars(plan.sidecar, force=plan.rules.is_forced, has_said=journal.has_said)
    endpoint = asking.endpoint(plan.settings, plan.key)
    return Run(
        Crew(plan.inputs.find(), plan.question, endpoint, opened=plan.opened, sidecars=sidecars),
        plan.question,
        plan.gate,
        Budget(plan.limits),
        settled=journal.settled,
        rules=plan.rules,
        clerk=Clerk(plan.question, sidecars),
    )


def _pull(
    begun: "Run",
    keep: "Callable[[Outcome], None]",
    tally: "Tally",
    *,
    count: "Count",
    gate: "Gate",
    show: Callable[[], None],
) -> None:
    """Pull a run to its end; each outcome is kept before the next one is pulled."""
    from ..outcomes import Waiting

    with closing(begun.outcomes()) as items:
        for item in items:
            if not isinstance(item, Waiting):
                keep(item)
                tally.take(item)
            tally.in_flight, tally.total = gate.in_flight, count.total
            show()


@contextmanager
def _heeding_signals(begun: "Run") -> Iterator[None]:
    """Ctrl-C and SIGTERM stop the run; the second of them ends the program at once."""

    def heed(number: int, _: "FrameType | None") -> None:
        if isinstance(begun.stopped, StoppedError):
            os._exit(StoppedError.exit_code)  # no line is torn: each is one write
        begun.interrupt("Ctrl-C" if number == signal.SIGINT else "SIGTERM")

    # What was started in the background may be meant to ignore Ctrl-C.
    numbers = [one for one in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(one) is not signal.SIG_IGN]
    before = {number: signal.signal(number, heed) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(tally: "Tally", *, is_shown: bool) -> Iterator[Callable[[], None]]:
    """What shows progress, to be called whenever something may have happened."""
    if not is_shown or sys.stderr is None:
        yield lambda: None
    elif sys.stderr.isatty():
        from ..progressbar import Bar
        from ..terminal import console

        with Bar(tally, console(color=None, stderr=True)):
            yield lambda: None
    else:
        yield Lines(tally).show


class Lines:
    """A line on stderr every half minute."""

    def __init__(self, tally: "Tally", *, clock: Callable[[], float] = time.monotonic) -> None:
        self._tally = tally
        self._clock = clock
        self._next = clock() + _EVERY

    def show(self) -> None:
        """Say how far it is, if it is time to."""
        if self._clock() >= self._next:
            self._next = self._clock() + _EVERY
            say(f"{self._tally.headline()} · {self._tally.details()}")


def _end(stopped: QvisionError | None, tally: "Tally", count: "Count", *, can_go_on: bool) -> None:
    """Raise what a run ended with, if that is not simply its end.

    Args:
        can_go_on: there is a results file, so that another run does only what is left.
    """
    if stopped is not None:
        left = "the rest is left"
        if count.total is not None:
            left = f"{count.total - tally.finished:,} of {count.total:,} images are left"
        again = "The same command goes on where it stopped." if can_go_on else None
        raise _with(stopped, f"{stopped.message}; {left}", stopped.hint or again)
    if tally.failed:
        again = "The same command does these again." if can_go_on else "--failures lists them for --from."
        raise UnfinishedError(f"{tally.failed:,} of {tally.finished:,} images failed", hint=again)


def _with(error: QvisionError, message: str, hint: str | None) -> QvisionError:
    said = type(error)(message, hint=hint, code=error.code, status=error.status, request_id=error.request_id)
    said.__cause__ = error
    return said
