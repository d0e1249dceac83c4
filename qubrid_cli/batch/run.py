"""Many images, one request each: found, prepared, asked about and given out, a few at a time.

All that is decided is decided here, in the thread that pulls the outcomes, from the events that the crew reports: so
there is nothing to lock, and when nobody pulls any more, the rest comes to a halt by itself.
"""

# MERGED DOCSTRING of qubrid_cli.rules: How a run of many images goes, as its user wants it.

# MERGED DOCSTRING of qubrid_cli.faults: What a failed request of many means: for its image, for the next requests, for all. Pure.

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from math import inf
from queue import Empty

from ..errors import (
    BatchIncompleteError,
    EndpointError,
    InterruptedByUserError,
    QvisionError,
)
from ..frozen import frozen
from ..metrics import Clock
from . import entries
from .budget import Budget, count_tokens, is_billed
from .journal import RecordedAnswer
from .queues import Admission, InFlightDuplicates, OrderedOutput, QueuedRequest, RequestQueue
from .rate import FailureKind, RateLimiter, classify_failure
from .tasks import (
    AttemptResult,
    BatchRequest,
    Failed,
    Idle,
    LoadedImage,
    Outcome,
    OutcomeOrIdle,
    OutcomeWriter,
    Skipped,
)
from .workers import (
    AllFound,
    Answered,
    ImageLoaded,
    ImageReady,
    ImageRejected,
    ThreadCrashed,
    WakeUp,
    WorkerEvent,
    Workers,
)


@frozen
class RunOptions:
    """How a run goes.

    Attributes:
        retries: further tries of an image whose request fails while others do not.
        patience: seconds that an endpoint which is away, or takes nothing, is waited for; and an image at most.
        is_ordered: outcomes come in the order of the images.
        is_forced: what the results file has is asked for again.
    """

    retries: int = 4
    patience: float = 600.0
    is_ordered: bool = False
    is_forced: bool = False


def get_retry_after(error: QvisionError) -> float | None:
    """Seconds that the server asks to wait."""
    return error.retry_after if isinstance(error, EndpointError) else None


def is_fatal(error: QvisionError, *, has_endpoint_answered: bool) -> bool:
    """Whether no other image would fare better.

    Args:
        has_endpoint_answered: the endpoint has given an answer before, so that it is one.
    """
    return isinstance(error, EndpointError) and (
        error.is_fatal or (error.code == "no_answer" and not has_endpoint_answered)
    )


def build_pause_too_long_error(error: QvisionError, seconds: float, *, patience: float) -> EndpointError:
    """The end of a run whose endpoint asks for a longer pause than the user has patience for."""
    return EndpointError(
        f"the endpoint asks to wait {seconds:g} s, longer than --patience {patience:g}: {error.message}",
        hint="Go on later, or with a longer --patience.",
        code=error.code,
        status=error.status,
    )


def build_unreachable_error(error: QvisionError, seconds: float) -> EndpointError:
    """The end of a run whose endpoint has been away, or failed with everything, for so long; by the last error of many."""
    return EndpointError(
        f"the endpoint has given no whole answer for {seconds:g} s: {error.message}",
        hint="--patience sets how long to wait for it.",
        code=error.code,
        status=error.status,
    )


#: Seconds without an event after which whoever watches gets a word.
_IDLE_INTERVAL = 0.5
#: Seconds that requests on their way are given after Ctrl-C.
SHUTDOWN_GRACE = 5.0
#: Tokens of an answer, before there is one to go by.
_DEFAULT_ANSWER_TOKENS = 256


class BatchRun:
    """One run over many images.

    Args:
        settled: the answer to a question (its key) about an image (its name), if the results file has it.
        has_failed: whether that has it that there was none; takes the prompt, too.
        is_found: whether all has been found, but for what comes once more when other images are through.

    Attributes:
        stop_reason: why it ended before all images were through, which the program is to end with; ``None`` while it goes on.
    """

    def __init__(
        self,
        workers: Workers,
        batch_request: BatchRequest,
        rate_limiter: RateLimiter,
        budget: Budget,
        *,
        find_answer: Callable[[str, str], RecordedAnswer | None],
        has_failed: Callable[[str, str, str], bool] = lambda *_: False,
        is_input_exhausted: Callable[[], bool] = lambda: False,
        options: RunOptions,
        outcome_writer: OutcomeWriter,
        clock: Clock = time.monotonic,
    ) -> None:
        self.stop_reason: QvisionError | None = None
        self._workers = workers
        self._batch_request = batch_request
        self._rate_limiter = rate_limiter
        self._budget = budget
        self._find_answer = find_answer
        self._has_failed = has_failed
        self._options = options
        self._outcome_writer = outcome_writer
        self._clock = clock
        self._started_at = clock()
        self._give_up_at = inf
        self._finished_count = 0
        self._admission = Admission(workers, is_deferrable=self._is_deferrable, is_input_exhausted=is_input_exhausted)
        self._has_endpoint_answered = False
        self._request_queue = RequestQueue()
        self._in_flight: dict[int, QueuedRequest] = {}
        self._duplicates = InFlightDuplicates()
        self._refreshed_keys: set[bytes] = set()  # asked by a forced run itself
        self._output = OrderedOutput(is_ordered=options.is_ordered)

    def interrupt(self, signal_name: str) -> None:
        """Stop, on behalf of a signal; may be called by its handler."""
        self.stop_reason = InterruptedByUserError(f"stopped by {signal_name}")
        self._give_up_at = self._clock() + SHUTDOWN_GRACE
        self._workers.wake()

    def iterate_outcomes(self) -> Generator[OutcomeOrIdle, None, None]:
        """Do it. Each image comes out once, unless the run is stopped first, and is written before the next is pulled."""
        with self._workers:
            while not self._is_finished():
                self._admit_images()
                yield from self._handle_next_event(self._send_requests())
                yield from self._emit_outcomes()
        self._in_flight.clear()  # given up
        yield from self._emit_outcomes()

    def _handle_next_event(self, timeout: float) -> Iterator[Idle]:
        try:
            event = self._workers.events.get(timeout=max(0.0, min(timeout, _IDLE_INTERVAL)))
        except Empty:
            event = WakeUp()
        self._handle_event(event)
        if isinstance(event, WakeUp):
            yield Idle()

    def _is_finished(self) -> bool:
        if self.stop_reason is None:
            return self._finished_count == self._admission.total
        return not self._in_flight or self._clock() >= self._give_up_at

    def _stop(self, reason: QvisionError) -> None:
        self.stop_reason = self.stop_reason or reason

    def _admit_images(self) -> None:
        """Let the finder go on, for so many images that the requests hardly ever wait for one."""
        limit = self._rate_limiter.concurrency.limit
        most = limit + max(2, limit // 4) + self._workers.thread_count
        if self.stop_reason is None:
            self._admission.admit(most, finished=self._finished_count, written=self._output.taken_count)

    def _send_requests(self) -> float:
        """Send what may go; the seconds until more may."""
        while self.stop_reason is None:
            now = self._clock()
            if (limit := self._budget.find_exceeded_time_limit(now - self._started_at)) is not None:
                self._stop(BatchIncompleteError(f"stopped at {limit}"))
            elif (
                wait := max(self._request_queue.seconds_until_next(now), self._rate_limiter.seconds_until_allowed(now))
            ) > 0:
                return wait
            elif (
                limit := self._budget.find_limit_for_next_request(
                    asked := self._request_queue.peek(now).ready.input_tokens
                )
            ) is not None:
                self._stop(BatchIncompleteError(f"stopped at {limit}"))
            elif self._budget.is_reserved(asked, self._rate_limiter.in_flight):
                return inf
            else:
                self._send_request(self._request_queue.pop(now), now)
        return self._give_up_at - self._clock()

    def _send_request(self, job: QueuedRequest, now: float) -> None:
        job.attempts += 1
        tokens = job.ready.input_tokens + (self._budget.mean_output_tokens or _DEFAULT_ANSWER_TOKENS)
        job.in_flight_request = self._rate_limiter.start_request(now, job.number, tokens)
        self._in_flight[job.number] = job
        self._workers.enqueue_request(
            job.number, job.ready, self._batch_request, in_flight=self._rate_limiter.in_flight
        )

    def _handle_event(self, event: WorkerEvent) -> None:
        match event:
            case ImageLoaded():
                self._handle_loaded(event.number, event.loaded)
            case ImageReady():
                self._request_queue.add(QueuedRequest(event.number, event.ready))
            case ImageRejected():
                self._finish_image(
                    event.number, event.key, self._outcome_writer.build_failure(event.task, event.key, event.error)
                )
            case Answered():
                self._handle_result(self._in_flight.pop(event.number), event.result)
            case AllFound():
                self._admission.total = event.count
            case ThreadCrashed():
                raise event.error
            case WakeUp():
                pass

    def _handle_loaded(self, number: int, loaded: LoadedImage) -> None:
        """An image was read: it is the same as one that is being seen to, or known, or to be prepared."""
        if self._duplicates.add_if_duplicate(number, loaded):
            self._finish_duplicates(loaded.key)
        elif (known := self._find_known_answer(loaded)) is None:
            if not self._admission.defer_if_allowed(number, loaded):
                self._duplicates.add_original(loaded.key)
                self._workers.enqueue_preparation(number, loaded)
        elif known.has_own_line:
            self._queue_outcome(number, None, self._outcome_writer.build_skipped(loaded, known.record))
        else:
            self._queue_outcome(number, None, self._outcome_writer.build_duplicate(loaded, known.record))

    def _is_deferrable(self, loaded: LoadedImage) -> bool:
        """Whether it failed before, and no order is wished for."""
        prompt = self._batch_request.build_request(loaded.task).prompt
        return not self._options.is_ordered and self._has_failed(loaded.key, loaded.source.name, prompt)

    def _find_known_answer(self, loaded: LoadedImage) -> RecordedAnswer | None:
        if self._options.is_forced and entries.digest(loaded.key) not in self._refreshed_keys:
            return None
        return self._find_answer(loaded.key, loaded.source.name)

    def _handle_result(self, job: QueuedRequest, result: AttemptResult) -> None:
        now, error = self._clock(), result.error
        assert job.in_flight_request is not None
        self._record_result(job, result)
        if error is None:
            self._has_endpoint_answered = True
            self._rate_limiter.record_success(job.in_flight_request, now, count_tokens(result.billed_record["usage"]))
            self._finish_request(job, result)
            return
        trouble, retry_after = classify_failure(error), get_retry_after(error)
        # What is paid for each time, such as an answer that is cut, is not tried without end.
        is_its_own = self._rate_limiter.record_failure(job.in_flight_request, now, trouble, retry_after) or is_billed(
            result.billed_record
        )
        job.counted_failures += is_its_own
        job.first_failed_at = now if job.first_failed_at is None else job.first_failed_at
        if is_fatal(error, has_endpoint_answered=self._has_endpoint_answered):
            self._stop(error)
        elif trouble is FailureKind.PERMANENT or job.counted_failures > self._options.retries:
            self._finish_request(job, result)
        elif retry_after is not None and retry_after > self._options.patience:
            self._stop(build_pause_too_long_error(error, retry_after, patience=self._options.patience))
        elif self._is_patience_exceeded(now):
            self._stop(build_unreachable_error(error, self._options.patience))
        elif now - job.first_failed_at > self._options.patience:  # others are answered, and this one is turned away
            self._finish_request(job, result)
        else:
            self._request_queue.add_retry(job, now, is_immediate=not is_its_own)

    def _record_result(self, job: QueuedRequest, result: AttemptResult) -> None:
        """Count what it took; and do not ask all others for what the endpoint refused one of them."""
        self._budget.record_request(result.billed_record, job.ready.input_tokens)
        job.ready = replace(job.ready, answer_to_repair=result.answer_to_repair)
        request = self._batch_request.request
        if not result.refused_fields <= request.dropped:
            self._batch_request = replace(
                self._batch_request, request=replace(request, dropped=request.dropped | result.refused_fields)
            )

    def _is_patience_exceeded(self, now: float) -> bool:
        """Whether nothing but trouble has come back for too long: better to end than to fail all the rest."""
        return (
            self._rate_limiter.failing_since is not None
            and now - self._rate_limiter.failing_since > self._options.patience
        )

    def _finish_request(self, job: QueuedRequest, result: AttemptResult) -> None:
        task, key = job.ready.task, job.ready.key
        self._finish_image(
            job.number, key, self._outcome_writer.build_outcome(task, key, result, attempts=job.attempts)
        )

    def _finish_image(self, number: int, key: str | None, outcome: Outcome) -> None:
        """An image is through, and with it those that are the same."""
        self._queue_outcome(number, key, outcome)
        if key is not None and not isinstance(outcome, Skipped):
            self._duplicates.set_record(key, outcome.record)
            self._finish_duplicates(key)

    def _finish_duplicates(self, key: str) -> None:
        for number, read, record in self._duplicates.pop_duplicates(key):
            is_twice = read.source.name == record["images"][0]["source"]  # the list has it twice
            self._queue_outcome(
                number, None, Skipped(read.task) if is_twice else self._outcome_writer.build_duplicate(read, record)
            )

    def _queue_outcome(self, number: int, key: str | None, outcome: Outcome) -> None:
        self._finished_count += 1
        self._output.put(number, key, outcome)
        # What was done before, or is the same as another image, says nothing of how this run fares.
        is_passed_over = isinstance(outcome, Skipped) or outcome.is_duplicate
        if not is_passed_over and self._budget.record_and_check_failures(is_failure=isinstance(outcome, Failed)):
            self._stop(BatchIncompleteError("stopped at --max-failures"))

    def _emit_outcomes(self) -> Iterator[Outcome]:
        """What can be written; when it is, the results file knows it, and nobody needs to wait for it."""
        while (found := self._output.take(is_over=self.stop_reason is not None and not self._in_flight)) is not None:
            key, outcome = found
            yield outcome
            self._outcome_writer.write_sidecar(outcome)
            if key is not None:
                self._duplicates.forget(key)
                if self._options.is_forced:
                    self._refreshed_keys.add(entries.digest(key))
