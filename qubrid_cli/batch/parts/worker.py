"""The work on one part, in any process on any machine."""

import atexit
import os
import socket
import threading
import time
import weakref
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ... import __version__
from ...errors import ConfigError, OutputError
from ...images import sources
from ...library import image_options, request_builder
from ...output.streams import echo_err
from ...storage.opening import open_folder
from ...urls import is_object_url
from ..budget import Budget, BudgetLimits
from ..inputs import BatchInputs, Task, resolve_source, split_member
from ..journal import Journal
from ..outcomes import OutcomeWriter
from ..pages import PageFinder
from ..progress.stats import BatchStats
from ..queues import Waiting
from ..rate import RateLimiter
from ..results.done import DoneFinder
from ..results.sharing import AlreadyDone, ClaimedByOtherRun, WorkSharing
from ..run import BatchRun, Idle
from ..tasks import BatchPlan, Done, Failed
from ..workers import Workers
from .connection import open_endpoint
from .lease import SHORT_GRACE, Interruption, LeaseWatcher
from .output_folder import PartFormat, PartsOutput, finish_lines
from .part import Part, PartSummary
from .reports import encode_report, get_interval
from .run_file import RunDescription, open_output

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...settings.fields import Settings

#: The answers of a part are written to the output after this many, or after this many seconds.
_CHECKPOINT_ANSWERS, _CHECKPOINT_SECONDS = 50, 60.0
#: Seconds between checks of the process that started this one; the lock may be checked less often.
_WATCH_SECONDS = 0.25

_active: "weakref.WeakSet[_PartRun]" = weakref.WeakSet()


def run_part(part: Part) -> PartSummary:
    """Do a part, and write its result to the output, unless that has it already.

    This can be called again with the same part at any time, also after the process was killed: it continues with the
    answers that were saved, after every 50 of them and every minute.

    Raises:
        QvisionError: the part cannot be started. Errors of single images are records in the result.
    """
    if part.version != __version__:
        raise ConfigError(
            f"the worker on {socket.gethostname()} has qvision {__version__}, but the run was started by {part.version}",
            hint=f"On every worker: pip install qubrid-cli=={part.version}",
            code="version",
        )
    output, description = open_output(open_folder(part.output, part.storage))
    if not part.redo and output.has_result(part.number):
        return PartSummary(part.number, was_finished=True)
    if output.part_format is PartFormat.PARQUET:
        _require_parquet()
    return _PartRun(part, output, description).run()


def _require_parquet() -> None:
    """Check that the result can be written, before the first request is sent."""
    from ...output.parquet import require_library  # loads pyarrow

    try:
        require_library()
    except ConfigError as error:
        message = f"the worker on {socket.gethostname()} cannot write Parquet, which needs an extra library"
        raise error.with_message(message, hint=error.hint) from error


def interrupt_all(interruption: Interruption) -> bool:
    """Stop all parts of this process after the requests in flight; return whether there are any.

    May be called by a signal handler.
    """
    runs = list(_active)
    for run in runs:
        run.interrupt(interruption)
    return bool(runs)


@atexit.register
def save_all() -> None:
    """Save the answers so far when the process ends while its threads work on parts."""
    for run in list(_active):
        run.save()


class _PartRun:
    """One attempt at a part."""

    def __init__(self, part: Part, output: PartsOutput, description: RunDescription) -> None:
        self._part = part
        self._output = output
        self._description = description
        self._items = output.read_plan(part.number)
        self._batch_run: BatchRun | None = None
        self._path: Path | None = None
        self._interruption: Interruption | None = None
        self._saving = threading.Lock()
        self._unsaved, self._saved_at = 0, time.monotonic()
        self._is_over = threading.Event()
        self._summarize: Callable[[], PartSummary] | None = None
        self._watcher = None if part.lock is None else LeaseWatcher(output.folder, part.lock)

    def interrupt(self, interruption: Interruption) -> None:
        """Stop after the requests in flight."""
        self._interruption = interruption
        if self._batch_run is not None and self._batch_run.stop_reason is None:
            self._batch_run.interrupt(interruption.cause, interruption.grace)

    def save(self) -> None:
        """Write the answers so far to the output, if there are new ones."""
        with self._saving:
            if self._path is not None and self._unsaved:
                self._unsaved, self._saved_at = 0, time.monotonic()
                self._output.save_partial(self._part.number, self._path.read_bytes())

    def _report(self, last: PartSummary) -> PartSummary:
        """Report the counts to the driver, if they differ from the last report; return them."""
        with self._saving:
            if self._path is None or self._summarize is None or self._part.attempt is None:
                return last
            if (counts := self._summarize()) != last:
                with suppress(OutputError, ConfigError):  # the next try may succeed, and nothing depends on it
                    self._output.save_report(self._part.number, encode_report(self._part.attempt, counts))
            return counts

    def run(self) -> PartSummary:
        """Do the part as far as possible."""
        number, started_at = self._part.number, time.monotonic()
        previous = self._output.read_result(number) if self._part.redo else None
        with TemporaryDirectory(prefix="qvision-") as folder:
            path = Path(folder) / "results.jsonl"
            lines = self._output.read_partial(number)
            path.write_bytes((b"" if previous is None else previous.lines) + lines)
            plan = self._build_plan(path)
            budget = Budget(
                plan.limits, price=plan.batch_request.price, max_tokens=plan.batch_request.request.max_tokens
            )
            stats = BatchStats(budget.usage)
            self._summarize = partial(_summarize, number, budget, stats)
            _active.add(self)
            try:
                batch_run = self._run_images(plan, path, budget, stats)
            finally:
                self._is_over.set()
                with self._saving:  # nothing is saved from here on by another thread
                    self._path = None
                _active.discard(self)
            result, has_failures = finish_lines(path.read_bytes())
        if batch_run.stop_reason is None:
            self._output.finish(number, result, previous, has_failures=has_failures)
        elif result:
            self._output.save_partial(number, result)
        return replace(
            _summarize(number, budget, stats),
            given_up=batch_run.given_up_count,
            failures=tuple(stats.list_failures()),
            seconds=time.monotonic() - started_at,
            stop_reason=batch_run.stop_reason,
            pause=plan.rate_limiter.seconds_paused(time.monotonic()),
            concurrency=plan.rate_limiter.concurrency.state,
            worker=f"{socket.gethostname()}:{os.getpid()}",
        )

    def _build_plan(self, path: Path) -> BatchPlan:
        part, description, share = self._part, self._description, self._part.share
        settings, endpoint = open_endpoint(part.access, part.credentials)
        open_source = partial(_open_source, description, settings)
        rate_limiter = RateLimiter(share.jobs, rpm=share.rpm, tpm=share.tpm, start=share.concurrency)
        if share.pause:
            rate_limiter.pause(time.monotonic(), share.pause)
        schema = None
        if description.schema is not None:
            from ...schema.json_schema import load_schema  # loads jsonschema

            schema = load_schema(description.schema, where="run.json", name=description.schema_name)
        return BatchPlan(
            inputs=BatchInputs(()),
            batch_request=description.batch_request,
            open_source=open_source,
            open_endpoint=lambda: endpoint,
            rate_limiter=rate_limiter,
            page_finder=PageFinder(open_source),
            describe=request_builder.choose_describe(schema, reads_tiles=description.batch_request.reads_tiles),
            limits=BudgetLimits(share.cost, share.tokens, share.seconds, share.failures),
            retries=description.retries,
            patience=description.patience,
            request_timeout=description.request_timeout,
            may_retry_incomplete=description.may_retry_incomplete,
            results=path,
        )

    def _run_images(self, plan: BatchPlan, path: Path, budget: Budget, stats: BatchStats) -> BatchRun:
        with ExitStack() as stack:
            journal = stack.enter_context(Journal(path))
            outcome_writer = OutcomeWriter(plan, count_incomplete=journal.count_incomplete)
            results_folder = "" if is_object_url(self._part.output) else os.path.realpath(self._part.output)
            done_finder = DoneFinder(
                plan, journal, results_folder=results_folder, image_folder=self._description.folder
            )
            work_sharing = stack.enter_context(closing(WorkSharing(journal, done_finder)))
            workers = Workers(plan, work_sharing.iterate_inputs(iter(self._items)), plan.open_endpoint())
            self._batch_run = batch_run = BatchRun(plan, workers, work_sharing, budget, outcome_writer)
            batch_run.log = echo_err if self._description.is_verbose else None
            self._path = path
            if self._interruption is not None:  # it came before there was a run
                self.interrupt(self._interruption)
            threading.Thread(target=self._watch, name="watch", daemon=True).start()
            self._consume(batch_run, journal, work_sharing, stats, plan.rate_limiter)
        return batch_run

    def _consume(
        self,
        batch_run: BatchRun,
        journal: Journal,
        work_sharing: WorkSharing,
        stats: BatchStats,
        rate_limiter: RateLimiter,
    ) -> None:
        is_saved_at_stop = False
        with closing(batch_run.iterate_items()) as items:
            for item in items:
                if isinstance(item, AlreadyDone):
                    stats.add_already_done(len(item.tasks))
                elif not isinstance(item, Idle | Waiting):
                    if isinstance(item, Done | Failed) and item.line:
                        journal.append(item.line)
                        self._unsaved += 1
                    work_sharing.finish(item)
                    if not isinstance(item, ClaimedByOtherRun):
                        stats.add_outcome(item)
                is_stopping = batch_run.stop_reason is not None
                is_due = self._unsaved and time.monotonic() - self._saved_at >= _CHECKPOINT_SECONDS
                if self._unsaved >= _CHECKPOINT_ANSWERS or is_due or (is_stopping and not is_saved_at_stop):
                    is_saved_at_stop = is_stopping
                    self.save()
                if self._watcher is not None and (share := self._watcher.share) is not None:
                    rate_limiter.change_limits(share.jobs, share.rpm, share.tpm)

    def _watch(self) -> None:
        """Report to the driver, and stop the part when the driver asks for it or is gone."""
        import multiprocessing

        parent = multiprocessing.parent_process()
        interval, report = get_interval(self._output), PartSummary(self._part.number)
        next_check_at, next_report_at = 0.0, time.monotonic() + interval
        while not self._is_over.wait(_WATCH_SECONDS):
            if parent is not None and not parent.is_alive():
                self.interrupt(Interruption("the end of the process that started it", SHORT_GRACE))
                return
            if self._watcher is not None and time.monotonic() >= next_check_at:
                next_check_at = time.monotonic() + self._watcher.poll
                if (interruption := self._watcher.check()) is not None:
                    self.interrupt(interruption)
                    return
            if time.monotonic() >= next_report_at:
                report = self._report(report)
                next_report_at = time.monotonic() + interval


def _summarize(number: int, budget: Budget, stats: BatchStats) -> PartSummary:
    """Summarize the counts of a part so far."""
    usage = budget.usage
    return PartSummary(
        number,
        done=stats.done,
        duplicates=stats.duplicates,
        failed=stats.failed,
        skipped=stats.skipped,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cost=usage.cost,
        is_estimated=usage.is_estimated,
        original_bytes=stats.original_bytes,
        sent_bytes=stats.sent_bytes,
    )


def _open_source(description: RunDescription, settings: "Settings", task: Task) -> sources.Source:
    """Resolve the image of a task; paths are relative to the folder of the driver."""
    path = os.path.join(description.folder, task.source)
    if not sources.is_url(task.source) and split_member(path) is not None:  # in an archive
        member = resolve_source(replace(task, source=path))
        return replace(member, name=task.source) if isinstance(member, sources.FetchedLink) else member
    storage = partial(image_options.build_storage_options, settings)
    source = _make_absolute(resolve_source(task, storage), description.folder)
    (image,) = image_options.choose_downloads([source], settings, fetch=description.fetch)
    return image


def _make_absolute(source: sources.Source, folder: str) -> sources.Source:
    match source:
        case sources.File(name=name, path=path):
            return sources.File(name, Path(folder, path))
        case sources.DocumentPage(document=sources.File() as document, number=number):
            return sources.DocumentPage(sources.File(document.name, Path(folder, document.path)), number)
    return source
