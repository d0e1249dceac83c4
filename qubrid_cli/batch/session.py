"""A run from its plan to its summary: the forecast of a dry run, or the run itself and how it ended."""

import gc
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ..errors import EndpointError, InterruptedByUserError, OutputError, QvisionError
from ..frozen import frozen
from ..output.streams import Output, echo_err, echo_note, echo_prose
from ..signals import stop_on_signals
from ..text import format_count, quote_name
from .budget import Budget
from .journal import Journal
from .outcomes import OutcomeWriter
from .progress.display import Messages, ProgressDisplay, make_writer, show_progress
from .progress.stats import BatchStats
from .queues import Waiting
from .results.done import DoneFinder
from .results.sharing import AlreadyDone, ClaimedByOtherRun, WorkSharing
from .run import BatchRun, Idle
from .tasks import BatchPlan, Done, Failed, Outcome, SidecarFailed, Skipped
from .workers import Workers

if TYPE_CHECKING:
    from .failure_list import FailureList
    from .matches import Matches

_UNSAVED = "the answers are not saved; to save them, add -o results.jsonl"
#: Seconds between attempts to write to a full disk.
_WRITE_RETRY_SECONDS = 0.5


def print_dry_run(plan: BatchPlan, *, is_search: bool = False) -> None:
    """Print what a run would do, without sending anything.

    Args:
        is_search: the answers are yes or no.
    """
    from .dry_run import dry_run

    results = plan.results if plan.results and plan.results.exists() and not plan.is_forced else None
    with Journal(results) if results else nullcontext() as journal:
        forecast = dry_run(plan, journal, report=lambda line: None if plan.is_quiet else echo_err(line))
    output = Output()
    verb, max_tokens = ("ask about", None) if is_search else ("describe", plan.batch_request.request.max_tokens)
    lines = forecast.format_lines(plan.batch_request.price, max_tokens, verb=verb)
    for line in [*lines, *plan.request_lines]:
        output.write(f"{line}\n")
    if forecast.census.image_count == 0:
        plan.inputs.selection.left_out.raise_if_any(len(plan.page_finder.left_out))
    _print_left_out(plan)


def run_batch(plan: BatchPlan, matches: "Matches | None" = None) -> None:
    """Do a run, and print its summary.

    Args:
        matches: prints the images whose answers match, instead of lines or rows for all; the run ends once it needs no more.

    Raises:
        QvisionError: why it stopped early, or that images failed.
        BrokenPipeError: no one reads the matches any more.
    """
    # The 50,000 of __main__ make the program start faster, but in a run of 2,000 images they cost 7 MB.
    gc.set_threshold(5_000)
    budget = Budget(plan.limits, price=plan.batch_request.price, max_tokens=plan.batch_request.request.max_tokens)
    stats, output = BatchStats(budget.usage), Output()
    as_table = plan.has_table and output.is_terminal
    messages = Messages(is_quiet=plan.is_quiet)
    with ExitStack() as stack:
        journal = stack.enter_context(_open_journal(plan, stack, messages))
        failures = None
        if plan.failures is not None:
            from .failure_list import FailureList

            failures = stack.enter_context(FailureList(plan.failures, plan.batch_request.request.prompt))
        outcome_writer = _build_outcome_writer(plan, journal, messages)
        work_sharing = _build_work_sharing(plan, journal, outcome_writer, needs_records=matches is not None)
        stack.enter_context(closing(work_sharing))
        if not plan.is_quiet and plan.inputs.can_be_found_twice:
            stats.count_total(plan.inputs.find_images(counts_left_out=False), work_sharing.has_work)
        batch_run = _build_run(plan, work_sharing, budget, outcome_writer)
        stack.enter_context(stop_on_signals(batch_run))
        display = stack.enter_context(_show_progress(plan, matches, stats, output, as_table=as_table))
        is_shown = plan.results is None and matches is None
        show = make_writer(output, display, as_table=as_table) if is_shown else None
        sink = _Sink(journal, show, failures, work_sharing, outcome_writer)
        messages.display = display
        batch_run.log = display.print_line if plan.is_verbose else None
        try:
            _consume_items(batch_run, _Saver(batch_run, sink, display, plan), stats, display, matches)
        except OutputError as error:  # the summary is printed all the same
            batch_run.stop_reason = error
        if plan.is_forced and batch_run.stop_reason is None and not batch_run.has_finished_early:
            journal.finish_force()
        messages.display = None
    if matches is not None:
        matches.finish()
        if matches.is_complete and isinstance(batch_run.stop_reason, EndpointError):
            batch_run.stop_reason = None  # a request that was still in flight when there were enough matches
    unsaved = [_UNSAVED] if as_table and plan.sidecars is None else []
    _print_summary(plan, batch_run, stats, matches, [*journal.notes, *unsaved])
    _raise_if_incomplete(batch_run.stop_reason, stats, is_resumable=plan.results is not None)


def _show_progress(
    plan: BatchPlan, matches: "Matches | None", stats: BatchStats, output: Output, *, as_table: bool
) -> AbstractContextManager[ProgressDisplay]:
    # A bar and the lines of results, perhaps through a pager or jq, would overwrite each other on one terminal. Rows and
    # names are printed above the bar, if they go to this terminal.
    has_no_lines = plan.results is not None or as_table
    if matches is not None:
        has_no_lines = output.is_terminal or not matches.options.prints_at_once
    return show_progress(
        stats,
        is_quiet=plan.is_quiet,
        is_shown=has_no_lines or not output.is_terminal,
        as_bar=has_no_lines or output.is_stdout_file,
    )


def _print_summary(
    plan: BatchPlan, batch_run: BatchRun, stats: BatchStats, matches: "Matches | None", notes: Sequence[str]
) -> None:
    if stats.finished == 0 and batch_run.stop_reason is None:
        plan.inputs.selection.left_out.raise_if_any(len(plan.page_finder.left_out))
        echo_note("no image was found")
    elif not plan.is_quiet:
        matched = [] if matches is None else matches.format_summary()
        verb = "described" if matches is None else "asked about"
        stats.given_up = batch_run.given_up_count
        counts = stats.format_summary(jobs=plan.rate_limiter.summary, verb=verb)
        for line in [*matched, *counts, *notes]:
            echo_prose(line)
    _print_left_out(plan)


def _print_left_out(plan: BatchPlan) -> None:
    """Report what the folders contain besides images, so that nothing is left out without a word."""
    if not plan.is_quiet:
        for line in plan.inputs.selection.left_out.format_lines(len(plan.page_finder.left_out)):
            echo_prose(line)


def _open_journal(plan: BatchPlan, stack: ExitStack, messages: Messages) -> Journal:
    """Open the results file, or for standard output a temporary one, by which duplicates are found."""
    if plan.results is None:
        return Journal(Path(stack.enter_context(TemporaryDirectory(prefix="qvision-"))) / "results.jsonl")
    path = plan.results
    journal = Journal(
        path,
        is_forced=plan.is_forced,
        is_ordered=plan.is_ordered,
        notify=messages.show,
        report=lambda name, done, total: messages.report(name, path, done, total),
    )
    if journal.continued_count:
        messages.show(
            f"continuing the last run with --force, of which {quote_name(path)} has {journal.continued_count:,} lines"
        )
    return journal


def _build_work_sharing(
    plan: BatchPlan, journal: Journal, outcome_writer: OutcomeWriter, *, needs_records: bool
) -> WorkSharing:
    if plan.results is None:
        return WorkSharing(journal)
    sidecars = outcome_writer.sidecars
    done_finder = DoneFinder(plan, journal, None if sidecars is None else sidecars.may_skip_recorded)
    plan.page_finder.recall_version = done_finder.recall_version
    return WorkSharing(journal, done_finder, needs_records=needs_records)


def _build_outcome_writer(plan: BatchPlan, journal: Journal, messages: Messages) -> OutcomeWriter:
    if plan.sidecars is None:
        return OutcomeWriter(plan, count_incomplete=journal.count_incomplete)
    from .results.corrections import read_corrections
    from .sidecars.writer import Sidecars

    corrections = None if plan.results is None else read_corrections(Path(journal.folder), messages.show)
    sidecars = Sidecars(plan.sidecars, has_text=journal.has_text, corrections=corrections)
    return OutcomeWriter(plan, sidecars, journal.count_incomplete)


def _build_run(plan: BatchPlan, work_sharing: WorkSharing, budget: Budget, outcome_writer: OutcomeWriter) -> BatchRun:
    images = work_sharing.iterate_inputs(plan.inputs.find_images())
    workers = Workers(plan, images, plan.open_endpoint(), sidecars=outcome_writer.sidecars)
    return BatchRun(plan, workers, work_sharing, budget, outcome_writer)


@frozen
class _Sink:
    """Where the outcomes of a run go.

    Attributes:
        show: writes an outcome to standard output, if the run has no results file; then ``journal`` is a temporary one.
    """

    journal: Journal
    show: Callable[[Done | Failed], None] | None
    failures: "FailureList | None"
    work_sharing: WorkSharing
    outcome_writer: OutcomeWriter

    def write_line(self, item: Outcome | ClaimedByOtherRun | Waiting) -> None:
        """Write the line of an outcome to the results file; if it has to wait, to a file beside it.

        Raises:
            OutputError: it could not be written, but may be later.
        """
        if isinstance(item, Done | Failed) and item.line:
            self.journal.append(item.line)
        elif isinstance(item, Waiting):
            self.journal.spool(item.outcome.line)

    def finish(self, item: Outcome | ClaimedByOtherRun) -> Outcome | ClaimedByOtherRun:
        """Write an outcome to all other places, and release its image for other runs.

        Returns:
            The outcome, or that a sidecar could not be written.

        Raises:
            OutputError: it could not be written.
        """
        if self.show is not None and isinstance(item, Done | Failed) and item.line:
            self.show(item)
        finished = self.outcome_writer.write_sidecars(item) if isinstance(item, Done) else item
        if self.failures is not None and not isinstance(finished, ClaimedByOtherRun):
            self.failures.add_outcome(finished)
        self.work_sharing.finish(item)
        return finished


class _Saver:
    """Saves the outcomes of a run. While the results file cannot be written, it waits, so no request is sent.

    Attributes:
        keeps_answers: the user has named a results file.
        lost_count: answers that were paid for and could not be saved.
    """

    def __init__(self, batch_run: BatchRun, sink: _Sink, display: ProgressDisplay, plan: BatchPlan) -> None:
        self._batch_run = batch_run
        self._sink = sink
        self._display = display
        self._patience = plan.patience
        self._is_discarding = False  # outcomes can no longer be saved, so no sidecars are written either
        self.keeps_answers = plan.results is not None
        self.lost_count = 0

    def save(self, item: Outcome | ClaimedByOtherRun) -> Outcome | ClaimedByOtherRun | None:
        """Save an outcome, and return what became of it; ``None`` if it is lost."""
        if not self._is_discarding:
            try:
                self._write_line(item)
                finished = self._sink.finish(item)
            except OutputError as error:
                self._is_discarding = True
                self._batch_run.stop(error)
            else:
                if (problem := self._sink.journal.take_problem()) is not None:
                    self._batch_run.stop(problem)
                if isinstance(finished, SidecarFailed) and isinstance(finished.error, OutputError):
                    self._batch_run.stop(finished.error)
                return finished
        self.lost_count += isinstance(item, Done) and not item.is_duplicate
        return None

    def has_answer(self, key: str) -> bool:
        """Whether the results file has the answer with a key, also from another run."""
        return self._sink.journal.has_answer(key)

    def save_waiting(self, item: Waiting) -> None:
        """Keep an answer on the disk until it can be saved."""
        if not self._is_discarding:
            try:
                self._write_line(item)
            except OutputError as error:  # it is lost only if it cannot be saved later either
                self._batch_run.stop(error)

    def save_already_done(self, item: AlreadyDone) -> None:
        """Take images with an answer off the list of failures."""
        if self._sink.failures is not None:
            for task in item.tasks:
                self._sink.failures.add_outcome(Skipped(task))

    def _write_line(self, item: Outcome | ClaimedByOtherRun | Waiting) -> None:
        """Write the line of an outcome, and wait for room on the disk.

        Raises:
            OutputError: there was no room for as long as ``--patience``, or until a signal.
        """
        give_up_at = None
        while True:
            try:
                self._sink.write_line(item)
            except OutputError as error:
                now = time.monotonic()
                if give_up_at is None:
                    give_up_at = now + self._patience
                    self._display.print_line(
                        f"{error.message}: no new requests, and trying again for up to {self._patience:g} s"
                    )
                if now >= give_up_at or self._batch_run.stop_reason is not None:
                    raise
                time.sleep(min(_WRITE_RETRY_SECONDS, give_up_at - now))
            else:
                return


def _consume_items(
    batch_run: BatchRun, saver: _Saver, stats: BatchStats, display: ProgressDisplay, matches: "Matches | None"
) -> None:
    """Pull a run to its end; each outcome is saved before the next one is pulled."""
    is_announced = False
    with closing(batch_run.iterate_items()) as items:
        for item in items:
            if isinstance(item, Waiting):
                saver.save_waiting(item)
            elif isinstance(item, AlreadyDone):
                saver.save_already_done(item)
                stats.add_already_done(len(item.tasks))
            elif not isinstance(item, Idle):
                outcome = saver.save(item)
                if outcome is not None and not isinstance(outcome, ClaimedByOtherRun):
                    stats.add_outcome(outcome)
            if isinstance(item, ClaimedByOtherRun):
                stats.add_claimed(item.task.index, item.key)
            stats.check_claimed(saver.has_answer)
            if matches is not None and not matches.add_item(item, display):
                batch_run.finish_early(batch_run.shutdown_grace if saver.keeps_answers else 0.0)
            stats.in_flight, stats.trouble = batch_run.in_flight, batch_run.trouble
            display.update()
            reason = batch_run.stop_reason
            if isinstance(reason, InterruptedByUserError) and batch_run.in_flight and not is_announced:
                is_announced = True
                requests = format_count(batch_run.in_flight, "request")
                display.print_line(
                    f"{reason.message}: waiting up to {batch_run.shutdown_grace:.0f} s for {requests} in flight; "
                    "a second Ctrl-C quits at once"
                )
    if saver.lost_count and batch_run.stop_reason is not None:
        lost = format_count(saver.lost_count, "answer was lost", "answers were lost")
        batch_run.stop_reason = batch_run.stop_reason.with_message(
            f"{batch_run.stop_reason.message}; {lost}", hint=batch_run.stop_reason.hint
        )


def _raise_if_incomplete(stop_reason: QvisionError | None, stats: BatchStats, *, is_resumable: bool) -> None:
    """Raise why a run is incomplete, if it is.

    Args:
        is_resumable: there is a results file, so the same command does only what is left.
    """
    if stop_reason is not None:
        left = "some images are left"
        if stats.total is not None:
            left = f"{stats.total - stats.finished:,} of {stats.total:,} images are left"
        hint = "To continue, run the same command again." if is_resumable else None
        raise stop_reason.with_message(f"{stop_reason.message}; {left}", hint=stop_reason.hint or hint) from stop_reason
    stats.raise_if_failed(is_resumable=is_resumable)
