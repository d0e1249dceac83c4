"""A run while it goes on: where its lines go, and how it ends."""

# MERGED DOCSTRING of qubrid_cli.commands.plan: What a run of many images is going to do, as its command line says.

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO

from ..commands import _request
from ..errors import BatchIncompleteError, InterruptedByUserError, OutputError, QvisionError
from ..frozen import frozen
from ..output.streams import Output, echo_err
from . import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from ..images.sources import Source
    from ..schema.json_schema import Schema
    from ..settings.resolve import Settings
    from .budget import Budget, BudgetLimits
    from .inputs import ImageCounter, InputItem, Selection, Task
    from .journal import Journal, WorkSharing
    from .rate import RateLimiter
    from .run import BatchRun, RunOptions
    from .sidecars import SidecarFormat
    from .stats import BatchStats
    from .tasks import BatchRequest, Outcome


@contextmanager
def handle_signals(batch_run: "BatchRun") -> Iterator[None]:
    """Ctrl-C and SIGTERM stop the run; the second of them ends the program at once."""

    def heed(number: int, _: "FrameType | None") -> None:
        if isinstance(batch_run.stop_reason, InterruptedByUserError):
            os._exit(InterruptedByUserError.exit_code)  # no line is torn: each is one write
        batch_run.interrupt("Ctrl-C" if number == signal.SIGINT else "SIGTERM")

    # What was started in the background may be meant to ignore Ctrl-C.
    numbers = [one for one in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(one) is not signal.SIG_IGN]
    before = {number: signal.signal(number, heed) for number in numbers}
    try:
        yield
    finally:
        if not isinstance(
            batch_run.stop_reason, InterruptedByUserError
        ):  # else the program is about to end, and that may still be cut short
            for number, handler in before.items():
                signal.signal(number, handler)


@frozen
class Inputs:
    """What a run is over; each time it is gone through from its start."""

    arguments: tuple[str, ...]
    list_file: Path | BinaryIO | None
    is_nul_separated: bool
    selection: "Selection"

    def find_images(self) -> "Iterator[InputItem]":
        """One image after the other."""
        from . import lists
        from .inputs import find_images

        if self.list_file is None:
            yield from find_images(self.arguments, selection=self.selection)
            return
        with open(self.list_file, "rb") if isinstance(self.list_file, Path) else nullcontext(self.list_file) as stream:
            yield from find_images(
                self.arguments,
                list_items=lists.read_items(stream, is_nul_separated=self.is_nul_separated),
                selection=self.selection,
            )

    def find_images_for_counting(self) -> "Iterator[InputItem] | None":
        """The same, to be counted; ``None`` where it can be read only once."""
        can_be_read_twice = self.list_file is None or (isinstance(self.list_file, Path) and self.list_file.is_file())
        return self.find_images() if can_be_read_twice else None


@frozen
class BatchPlan:
    """What is going to be done."""

    inputs: Inputs
    batch_request: "BatchRequest"
    settings: "Settings"
    api_key: str | None
    stdin: BinaryIO
    fetch: bool | None
    options: "RunOptions"
    rate_limiter: "RateLimiter"
    limits: "BudgetLimits"
    results: Path | None
    failures: Path | None
    schema: "Schema | None"
    sidecar: "SidecarFormat | None"
    #: The answers are to stand in for the images.
    is_alt: bool
    is_quiet: bool

    def open_source(self, task: "Task") -> "Source":
        """Where the bytes of an image are."""
        from .inputs import resolve_source

        (image,) = _request.resolve_images([resolve_source(task, self.stdin)], self.settings, fetch=self.fetch)
        return image


def print_dry_run(plan: "BatchPlan") -> None:
    """Print what a run would do, and do nothing."""
    from .dry_run import dry_run
    from .journal import Journal

    with ExitStack() as stack:
        settled = None
        if plan.results is not None and plan.results.exists() and not plan.options.is_forced:
            settled = stack.enter_context(Journal(plan.results)).find_answer
        found = dry_run(plan.inputs.find_images(), plan.batch_request, settled, plan.open_source)
    target = Output()
    price = plan.batch_request.prices.get(plan.settings.required_model)
    for line in found.format_lines(price, plan.settings.max_tokens):
        target.write(f"{line}\n")


def run_batch(plan: "BatchPlan") -> None:
    """Do it, and say how it went.

    Raises:
        QvisionError: what it ended with, if not all images are through and fine.
    """
    from .budget import Budget
    from .failures import FailureList
    from .inputs import ImageCounter
    from .journal import WorkSharing
    from .stats import BatchStats
    from .tasks import Skipped

    price = plan.batch_request.prices.get(plan.settings.required_model)
    budget = Budget(plan.limits, price=price, max_tokens=plan.settings.max_tokens)
    target, tally = Output(), BatchStats(budget.usage)
    is_watched = plan.results is None and target.is_terminal
    count = ImageCounter(None if plan.is_quiet else plan.inputs.find_images_for_counting())
    with ExitStack() as stack:
        journal = stack.enter_context(_open_journal(plan, stack))
        failures = (
            None
            if plan.failures is None
            else stack.enter_context(FailureList(plan.failures, plan.batch_request.request.prompt))
        )
        division = stack.enter_context(closing(WorkSharing(journal)))
        begun = _build_run(plan, journal, division, budget)

        def keep(outcome: "Outcome") -> None:
            if not isinstance(outcome, Skipped):
                journal.append(outcome.line)
                if plan.results is None:
                    target.write(outcome.line.decode())
            if failures is not None:
                failures.add_outcome(outcome)
            division.finish(outcome)

        # Lines that go to a terminal, perhaps through jq, and a bar would stand in each other's way.
        is_shown, is_free = not is_watched, plan.results is not None or target.is_stdout_file
        with (
            handle_signals(begun),
            progress.show_progress(tally, is_quiet=plan.is_quiet, is_shown=is_shown, as_bar=is_free) as watcher,
        ):
            try:
                _consume_outcomes(begun, keep, tally, counter=count, rate_limiter=plan.rate_limiter, display=watcher)
            except OutputError as error:  # what came before it is told all the same
                begun.stop_reason = error
    if tally.finished == 0 and begun.stop_reason is None:
        echo_err("note: no image was found")
    elif not plan.is_quiet:
        for line in tally.format_summary(jobs=plan.rate_limiter.concurrency.summary):
            echo_err(line)
    _raise_if_incomplete(begun.stop_reason, tally, count, is_resumable=plan.results is not None)


def _open_journal(plan: "BatchPlan", stack: ExitStack) -> "Journal":
    """The results file; where lines go to stdout, a file for the time of the run, by which equal images are known."""
    from .journal import Journal

    if plan.results is not None:
        return Journal(plan.results, remember_texts=plan.sidecar is not None)
    return Journal(Path(stack.enter_context(TemporaryDirectory(prefix="qvision-"))) / "results.jsonl")


def _build_run(plan: "BatchPlan", journal: "Journal", division: "WorkSharing", budget: "Budget") -> "BatchRun":
    from .run import BatchRun
    from .sidecars import Sidecars
    from .tasks import OutcomeWriter
    from .workers import Workers

    sidecars = None
    if plan.sidecar is not None:
        sidecars = Sidecars(
            plan.sidecar, force=plan.options.is_forced, has_text=journal.has_text, is_alt_text=plan.is_alt
        )
    endpoint = _request.open_endpoint(plan.settings, plan.api_key)
    return BatchRun(
        Workers(
            division.iterate_inputs(plan.inputs.find_images()),
            plan.batch_request,
            endpoint,
            open_source=plan.open_source,
            schema_session=_request.open_schema_session(plan.schema),
            sidecars=sidecars,
        ),
        plan.batch_request,
        plan.rate_limiter,
        budget,
        find_answer=division.find_or_claim,
        has_failed=journal.has_failed,
        is_input_exhausted=division.has_found_all,
        options=plan.options,
        outcome_writer=OutcomeWriter(plan.batch_request, sidecars),
    )


def _consume_outcomes(
    batch_run: "BatchRun",
    save: "Callable[[Outcome], None]",
    stats: "BatchStats",
    *,
    counter: "ImageCounter",
    rate_limiter: "RateLimiter",
    display: "progress.ProgressDisplay",
) -> None:
    """Pull a run to its end; each outcome is kept before the next one is pulled."""
    from .run import SHUTDOWN_GRACE
    from .tasks import ClaimedElsewhere, Idle

    is_told = False
    with closing(batch_run.iterate_outcomes()) as items:
        for item in items:
            if not isinstance(item, Idle):
                save(item)
                if not isinstance(item, ClaimedElsewhere):
                    stats.add_outcome(item)
            stats.in_flight, stats.total = rate_limiter.in_flight, counter.total
            display.update()
            if isinstance(batch_run.stop_reason, InterruptedByUserError) and rate_limiter.in_flight and not is_told:
                is_told = True
                waits = f"{_format_request_count(rate_limiter.in_flight)} on the way, waited for {SHUTDOWN_GRACE:g} s at most"
                display.print_line(f"{batch_run.stop_reason.message}: {waits}; a second Ctrl-C ends at once")


def _format_request_count(count: int) -> str:
    return "1 request" if count == 1 else f"{count} requests"


def _raise_if_incomplete(
    stop_reason: QvisionError | None, stats: "BatchStats", counter: "ImageCounter", *, is_resumable: bool
) -> None:
    """Raise what a run ended with, if that is not simply its end.

    Args:
        is_resumable: there is a results file, so that another run does only what is left.
    """
    if stop_reason is not None:
        left = "the rest is left"
        if counter.total is not None:
            left = f"{counter.total - stats.finished:,} of {counter.total:,} images are left"
        again = "The same command goes on where it stopped." if is_resumable else None
        raise stop_reason.with_message(
            f"{stop_reason.message}; {left}", hint=stop_reason.hint or again
        ) from stop_reason
    if stats.failed:
        again = "The same command does these again." if is_resumable else "--failures lists them for --from."
        raise BatchIncompleteError(f"{stats.failed:,} of {stats.finished:,} images failed", hint=again)
