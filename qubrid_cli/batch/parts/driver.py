"""The driver of a run in parts: submits parts to an executor, a few at a time, and counts what they report."""

import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING

from ...errors import BatchIncompleteError, InterruptedByUserError, QvisionError
from ...text import format_count
from .division import PlannedPart, Planner
from .executors import PartExecutor
from .lease import CommonShare, Lease
from .part import Part, PartSummary, Share
from .reports import ReportReader
from .shares import Shares
from .worker import run_part

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..budget import TotalUsage
    from ..progress.display import ProgressDisplay
    from ..progress.stats import BatchStats

#: Seconds between checks of signals, the lock and the number of workers.
_WAIT_SECONDS = 0.25
#: A part whose worker has died this often is left out, because it may be the cause.
MAX_DEATHS = 3
#: Seconds until all workers have read a smaller share of the limits.
_SHARE_SECONDS = 3.0
#: Parts that are planned ahead of the workers.
_PLANNED_AHEAD = 8


class Driver:
    """Leads a run in parts, and divides its limits.

    Args:
        build_part: builds the part to submit, with the id of the attempt.

    Attributes:
        stop_reason: why the run stopped before all parts were finished; ``None`` if it did not.
        left_out: the parts whose workers died too often.
    """

    def __init__(
        self,
        planner: Planner,
        *,
        build_part: "Callable[[PlannedPart, Share, str | None], Part]",
        executor: PartExecutor,
        lease: Lease,
        shares: Shares,
        reports: ReportReader,
        stats: "BatchStats",
        usage: "TotalUsage",
        display: "ProgressDisplay",
    ) -> None:
        self.stop_reason: QvisionError | None = None
        self.left_out: list[int] = []
        self._planner = planner
        self._parts = _PlanningThread(planner.find_parts())
        self._build_part = build_part
        self._executor = executor
        self._lease = lease
        self._shares = shares
        self._reports = reports
        self._stats = stats
        self._usage = usage
        self._display = display
        self._running: dict[Future[PartSummary], PlannedPart] = {}
        self._returned: deque[PlannedPart] = deque()  # to be submitted again
        self._deaths: Counter[int] = Counter()
        self._counted: dict[int, PartSummary] = {}  # what was counted of each part that is not finished
        self._skipped = 0
        self._slots = 0
        self._grown_at: float | None = None  # when workers appeared that get no part yet
        self._common_share = CommonShare()
        self._is_stop_published = self._has_noted_missing_workers = False

    def interrupt(self, signal_name: str) -> None:
        """Stop after the requests in flight; may be called by a signal handler."""
        self.stop_reason = InterruptedByUserError(f"stopped by {signal_name}")

    def stop(self, reason: QvisionError) -> None:
        """Stop after the requests in flight, unless the run is stopping already."""
        self.stop_reason = self.stop_reason or reason

    def run(self) -> None:
        """Do the run.

        Raises:
            QvisionError: the executor does not work, or the lock cannot be written.
        """
        try:
            while True:
                if self.stop_reason is None:
                    self._start_parts()
                self._publish_stop()
                if not self._running and (self.stop_reason is not None or not self._may_have_more()):
                    return
                self._wait()
                self._stop_at_limits()
                for report in self._reports.take():
                    self._count(report)
                self._give_up_lost_workers()
                self._stats.part_count = len(self._running)
                self._update_skipped()
                self._display.update()
        finally:
            self._parts.close()
            self._update_skipped()

    def _update_skipped(self) -> None:
        self._stats.skipped = self._skipped + self._planner.finished_count

    def _may_have_more(self) -> bool:
        return bool(self._returned) or not self._parts.is_exhausted

    def _wait(self) -> None:
        """Wait a moment, and handle the parts that have ended."""
        if self._running:
            finished, _ = wait(self._running, _WAIT_SECONDS, FIRST_COMPLETED)
            for future in finished:
                self._handle_end(self._running.pop(future), future)
        else:
            time.sleep(_WAIT_SECONDS / 10)  # the first part is being planned, or there is no worker
            if self._slots == 0 and self.stop_reason is None and not self._has_noted_missing_workers:
                self._has_noted_missing_workers = True
                self._display.print_line("note: no worker is connected yet; waiting for one")

    def _stop_at_limits(self) -> None:
        """Stop if the lock is lost, or a limit of the whole run is reached."""
        if self._lease.problem is not None:
            self.stop(self._lease.problem)
        elif self.stop_reason is None and (limit := self._shares.find_exceeded_limit(time.monotonic())) is not None:
            self.stop(BatchIncompleteError(f"stopped at {limit}"))

    def _give_up_lost_workers(self) -> None:
        """While the run stops, do not wait for parts if all workers are gone."""
        if self.stop_reason is not None and self._running and self._executor.count_workers() == 0:
            self._running.clear()

    def _publish_stop(self) -> None:
        if self.stop_reason is None or self._is_stop_published:
            return
        self._is_stop_published = True
        if self._running and self._lease.problem is None:
            self._lease.publish(stop=True)
        if self._running and isinstance(self.stop_reason, InterruptedByUserError):
            parts = format_count(len(self._running), "part")
            self._display.print_line(
                f"{self.stop_reason.message}: waiting for the requests in flight of {parts}, whose answers so far are "
                "being saved; a second Ctrl-C quits at once"
            )

    def _start_parts(self) -> None:
        slots = self._count_slots()
        while len(self._running) < slots and self.stop_reason is None:
            planned = self._take_part()
            if planned is None:
                break
            self._start(planned, slots)
        self._publish_common(slots)

    def _take_part(self) -> PlannedPart | None:
        try:
            return self._returned.popleft() if self._returned else self._parts.take()
        except QvisionError as error:  # the images cannot be found, or the output cannot be written
            self.stop(error)
            return None

    def _start(self, planned: PlannedPart, slots: int) -> None:
        running = self._expect_running(slots, starting=1)
        self._publish_common(slots, starting=1)
        share = self._shares.reserve(planned.number, running, slots - len(self._running), time.monotonic())
        if share is None:
            self.stop(BatchIncompleteError(f"stopped at {self._shares.find_used_up()}"))
            return
        if not self._running:
            self._stats.begin_requests()
        attempt = self._reports.follow(planned.number)
        part = self._build_part(planned, share, attempt)
        self._running[self._executor.executor.submit(run_part, part)] = planned

    def _count_slots(self) -> int:
        """Count the parts that may run now. New workers wait until the others have read their smaller shares."""
        slots = self._shares.compute_slots(self._executor.count_workers())
        if slots <= self._slots or self._slots == 0 or not self._shares.limits.are_divided:
            self._slots, self._grown_at = slots, None
        elif self._grown_at is None:
            self._grown_at = time.monotonic()
        elif time.monotonic() - self._grown_at >= _SHARE_SECONDS:
            self._slots, self._grown_at = slots, None
        return self._slots

    def _expect_running(self, slots: int, *, starting: int) -> int:
        """Estimate how many parts will run; fewer than there are workers if only a few are left."""
        if not self._parts.is_all_found:
            return max(1, slots)
        unfinished = len(self._running) + starting + len(self._returned) + self._parts.found_count
        return max(1, min(slots, unfinished))

    def _publish_common(self, slots: int, *, starting: int = 0) -> None:
        if self._grown_at is not None:  # new workers will start soon: the shares are already smaller
            slots = max(slots, self._shares.compute_slots(self._executor.count_workers()))
        common = self._shares.compute_common(self._expect_running(slots, starting=starting))
        if common != self._common_share:
            self._common_share = common
            self._lease.publish(share=common)

    def _handle_end(self, planned: PlannedPart, future: "Future[PartSummary]") -> None:
        now, was_narrow = time.monotonic(), self._shares.is_narrow
        self._reports.forget(planned.number)
        try:
            summary = future.result()
        except self._executor.lost_worker_errors:
            self._shares.release(planned.number, self._count_lost(planned.number), now)
            self._handle_death(planned)
        except QvisionError as error:
            self._shares.release(planned.number, PartSummary(planned.number), now)
            self.stop(error)
        else:
            self._shares.release(planned.number, summary, now)
            self._handle_summary(planned, summary, was_narrow=was_narrow)

    def _handle_summary(self, planned: PlannedPart, summary: PartSummary, *, was_narrow: bool) -> None:
        """Count what a part has done; if it is not finished, submit it again later, or stop the run.

        Args:
            was_narrow: the part could use all that was left of the limits.
        """
        self._count(summary)
        reason, counted = summary.stop_reason, self._counted.pop(planned.number)
        if reason is None:
            return
        # The next attempt skips what is done, and requests the failed images again.
        self._counted[planned.number] = PartSummary(
            planned.number, failed=summary.failed, skipped=counted.skipped + summary.done
        )
        if isinstance(reason, InterruptedByUserError) or (reason.code == "limit" and not was_narrow):
            self._returned.append(planned)
        elif reason.code == "limit":
            self.stop(BatchIncompleteError(f"stopped at {self._shares.find_used_up()}"))
        else:
            self.stop(reason)

    def _handle_death(self, planned: PlannedPart) -> None:
        self._deaths[planned.number] += 1
        if self.stop_reason is not None:
            return
        if self._deaths[planned.number] < MAX_DEATHS:
            self._display.print_line(f"note: the worker of part {planned.number} died; the part is started again")
            self._returned.append(planned)
        else:
            self.left_out.append(planned.number)

    def _count_lost(self, number: int) -> PartSummary:
        """Take back the counts of images of a part whose worker died: it is unknown what was saved. Return what it used."""
        counted = self._counted.get(number) or PartSummary(number)
        used = replace(counted, done=0, duplicates=0, failed=0)
        self._count(used)
        self._counted[number] = PartSummary(number, skipped=counted.skipped)
        return used

    def _count(self, summary: PartSummary) -> None:
        """Count what a part has done since the last call."""
        last = self._counted.get(summary.number) or PartSummary(summary.number)
        skipped = max(summary.skipped, last.skipped)
        self._usage.add_totals(
            summary.input_tokens - last.input_tokens,
            summary.output_tokens - last.output_tokens,
            None if summary.cost is None else summary.cost - (last.cost or 0.0),
            is_estimated=summary.is_estimated,
        )
        self._skipped += skipped - last.skipped
        self._stats.add_counts(
            summary.done - last.done,
            summary.duplicates - last.duplicates,
            summary.failed - last.failed,
            summary.failures,
        )
        self._stats.original_bytes += summary.original_bytes - last.original_bytes
        self._stats.given_up += summary.given_up - last.given_up
        self._stats.sent_bytes += summary.sent_bytes - last.sent_bytes
        self._counted[summary.number] = replace(summary, skipped=skipped)


class _PlanningThread:
    """A thread that plans parts, a few ahead of the workers, because finding images may take time.

    Attributes:
        is_all_found: there are no more parts than those that were found.
    """

    def __init__(self, parts: Iterator[PlannedPart]) -> None:
        self.is_all_found = False
        self._queue: Queue[PlannedPart] = Queue(_PLANNED_AHEAD)
        self._error: BaseException | None = None
        self._is_closed = threading.Event()
        threading.Thread(target=self._find, args=(parts,), name="plan", daemon=True).start()

    @property
    def found_count(self) -> int:
        """The number of parts that were found and not taken."""
        return self._queue.qsize()

    @property
    def is_exhausted(self) -> bool:
        """Whether no more parts come."""
        return self.is_all_found and self._error is None and self._queue.empty()

    def take(self) -> PlannedPart | None:
        """Return the next part; ``None`` if there is none at the moment.

        Raises:
            QvisionError: the images could not be found.
        """
        try:
            return self._queue.get_nowait()
        except Empty:
            if self._error is not None:
                raise self._error from None
            return None

    def close(self) -> None:
        """Stop planning."""
        self._is_closed.set()

    def _find(self, parts: Iterator[PlannedPart]) -> None:
        try:
            for part in parts:
                while not self._is_closed.is_set():
                    try:
                        self._queue.put(part, timeout=_WAIT_SECONDS)
                        break
                    except Full:
                        continue
                if self._is_closed.is_set():
                    return
        except BaseException as error:  # noqa: BLE001  # raised where the parts are taken
            self._error = error
        self.is_all_found = True
