"""The main loop of a batch: which image is sent, retried or given up, and when the run stops.

All decisions are made in the thread that iterates over the outcomes, from the events that the workers report. No locks
are needed, and the run pauses while its caller is busy with an outcome.
"""

import statistics
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import replace
from math import inf
from queue import Empty

from ..describe.repetition import MAX_VARIATIONS, REPETITION
from ..errors import BatchIncompleteError, EndpointError, InterruptedByUserError, QvisionError
from ..frozen import frozen
from ..images.prepare import PreparedImage
from ..metrics import Clock
from .budget import Budget, count_tokens, is_billed
from .entries import Record
from .journal import RecordedAnswer
from .outcomes import OutcomeWriter
from .progress.exchanges import format_exchanges
from .progress.stats import Trouble
from .queues import Admission, InFlightDuplicates, OrderedOutput, QueuedRequest, RequestQueue, Waiting
from .rate import FailureKind, InFlightRequest, classify_failure, find_cause
from .results.lines import Question
from .results.sharing import AlreadyDone, ClaimedByOtherRun, WorkSharing
from .tasks import AttemptResult, BatchPlan, Done, Failed, LoadedImage, Outcome, ReadyImage, Skipped
from .workers import (
    AllFound,
    ImageLoaded,
    ImageReady,
    ImageRejected,
    RequestEnded,
    SidecarsComplete,
    ThreadCrashed,
    WakeUp,
    WorkerEvent,
    Workers,
)

#: Seconds without an event after which the run yields ``Idle``.
_IDLE_INTERVAL = 0.5
#: Seconds that requests in flight may still take after a signal: the median time of an answer, within these limits.
_MIN_SHUTDOWN_GRACE, _MAX_SHUTDOWN_GRACE = 5.0, 60.0
#: Answers over which that median is taken.
_RECENT_ANSWERS = 100
#: Seconds that all other requests wait for the response to the first one. A refused key or an unknown model is usually
#: reported sooner, and then costs only one request.
_FIRST_REQUEST_HEAD_START = 0.5
#: Tokens that the rate limiter assumes for an answer before there is one.
_DEFAULT_ANSWER_TOKENS = 256


@frozen
class Idle:
    """Nothing has happened for a moment."""


RunItem = Outcome | AlreadyDone | ClaimedByOtherRun | Waiting | Idle


class BatchRun:
    """One run over many images.

    Attributes:
        stop_reason: why the run stopped before all images were finished; ``None`` if it did not.
        has_finished_early: no more answers are needed, so no more requests are sent.
        given_up_count: images that were not requested, because earlier answers about them were incomplete too often.
        log: prints a line about each request; ``None`` without ``-v``.
    """

    def __init__(
        self,
        plan: BatchPlan,
        workers: Workers,
        work_sharing: WorkSharing,
        budget: Budget,
        outcome_writer: OutcomeWriter,
        *,
        clock: Clock = time.monotonic,
    ) -> None:
        self.stop_reason: QvisionError | None = None
        self.has_finished_early = False
        self.log: Callable[[str], None] | None = None
        self._plan = plan
        self._batch_request = plan.batch_request  # adapted to what the endpoint refused
        self._rate_limiter = plan.rate_limiter
        self._workers = workers
        self._work_sharing = work_sharing
        self._budget = budget
        self._outcome_writer = outcome_writer
        self._clock = clock
        self._started_at = clock()
        self._grace_ends_at = inf
        self._answer_seconds: deque[float] = deque(maxlen=_RECENT_ANSWERS)
        self._finished_count = self.given_up_count = 0
        self._has_sent = self._has_endpoint_answered = False
        self._head_start_ends_at = -inf
        self._next_send_at, self._last_error = inf, ""
        self._admission = Admission(workers, work_sharing)
        self._request_queue = RequestQueue()
        self._in_flight: dict[int, tuple[QueuedRequest, InFlightRequest]] = {}
        self._duplicates = InFlightDuplicates()
        self._already_done: deque[AlreadyDone] = deque()
        self._output = OrderedOutput(is_ordered=plan.is_ordered)

    @property
    def in_flight(self) -> int:
        """Requests without a response."""
        return self._rate_limiter.in_flight

    @property
    def trouble(self) -> Trouble:
        """Why nothing is sent at the moment."""
        since = self._rate_limiter.failing_since
        return Trouble(None if since is None else self._last_error, since or 0.0, self._next_send_at)

    @property
    def shutdown_grace(self) -> float:
        """Seconds that the requests in flight may still take after a signal."""
        median = statistics.median(self._answer_seconds or [0.0])
        return min(_MAX_SHUTDOWN_GRACE, max(_MIN_SHUTDOWN_GRACE, median))

    def interrupt(self, cause: str, grace: float | None = None) -> None:
        """Stop after the requests in flight, which may take ``grace`` seconds; signal handlers may call it, and any thread."""
        self.stop_reason = InterruptedByUserError(f"stopped by {cause}")
        self._grace_ends_at = self._clock() + (self.shutdown_grace if grace is None else grace)
        self._workers.wake()

    def stop(self, reason: QvisionError) -> None:
        """Stop after the requests in flight, unless the run is stopping already."""
        self.stop_reason = self.stop_reason or reason

    def finish_early(self, grace: float) -> None:
        """Send no more requests, because no more answers are needed; those in flight may take ``grace`` seconds more."""
        if not self.has_finished_early:
            self.has_finished_early = True
            self._grace_ends_at = min(self._grace_ends_at, self._clock() + grace)

    @property
    def _is_stopping(self) -> bool:
        return self.has_finished_early or self.stop_reason is not None

    def iterate_items(self) -> Generator[RunItem, None, None]:
        """Do the run, and yield each outcome once; the caller saves it before it asks for the next one."""
        with self._workers:
            while not self._is_finished():
                self._admit_images()
                yield from self._handle_events(self._send_requests())
                yield from self._emit_outcomes()
        self._in_flight.clear()  # given up
        yield from self._emit_outcomes()

    def _handle_events(self, timeout: float) -> Iterator[Idle]:
        """Wait for an event, and handle all that are in the queue: small images often cause several at once."""
        event: WorkerEvent = WakeUp()
        self._next_send_at = self._clock() + timeout
        with suppress(Empty):
            event = self._workers.events.get(timeout=max(0.0, min(timeout, _IDLE_INTERVAL)))
        self._handle_event(event)
        if isinstance(event, WakeUp):
            yield Idle()
        with suppress(Empty):
            while True:
                self._handle_event(self._workers.events.get_nowait())

    def _is_finished(self) -> bool:
        if not self._is_stopping:
            return self._finished_count == self._admission.total
        return not self._in_flight or self._clock() >= self._grace_ends_at

    def _admit_images(self) -> None:
        """Admit enough images that requests rarely have to wait for one."""
        if not self._is_stopping:
            concurrency = self._rate_limiter.limit
            limit = concurrency + max(2, concurrency // 4) + self._workers.thread_count
            self._admission.admit(limit, finished=self._finished_count, written=self._output.taken_count)

    def _send_requests(self) -> float:
        """Send the requests that may be sent now; return the seconds until another one may be sent."""
        while not self._is_stopping:
            now = self._clock()
            if limit := self._budget.find_exceeded_time_limit(now - self._started_at):
                self.stop(BatchIncompleteError(f"stopped at {limit}", code="limit"))
                break
            wait = max(
                self._request_queue.seconds_until_next(now),
                self._rate_limiter.seconds_until_allowed(now),
                self._head_start_ends_at - now,
            )
            if wait > 0:
                return wait
            input_tokens = self._request_queue.peek(now).ready.input_tokens
            if limit := self._budget.find_limit_for_next_request(input_tokens):
                self.stop(BatchIncompleteError(f"stopped at {limit}", code="limit"))
            elif self._budget.is_reserved(input_tokens, self._rate_limiter.in_flight):
                return inf
            else:
                self._send_request(self._request_queue.pop(now), now)
        return self._grace_ends_at - self._clock()

    def _send_request(self, request: QueuedRequest, now: float) -> None:
        if not self._has_sent:
            self._has_sent, self._head_start_ends_at = True, now + _FIRST_REQUEST_HEAD_START
        tokens = request.ready.input_tokens + (self._budget.mean_output_tokens or _DEFAULT_ANSWER_TOKENS)
        self._in_flight[request.number] = request, self._rate_limiter.start_request(now, request.number, tokens)
        self._workers.enqueue_request(
            request.number, request.ready, self._batch_request, in_flight=self._rate_limiter.in_flight
        )

    def _handle_event(self, event: WorkerEvent) -> None:
        match event:
            case ImageLoaded(number=number, loaded=loaded):
                self._handle_loaded(number, loaded)
            case SidecarsComplete(number=number, task=task):
                self._queue_outcome(number, None, Skipped(task))
            case ImageReady(number=number, ready=ready):
                self._handle_ready(number, ready)
            case ImageRejected(number=number, task=task, key=key, error=error):
                self._finish_image(number, key, self._outcome_writer.build_failure(task, key, error))
            case RequestEnded(number=number, result=result, limits=limits):
                request, sent_request = self._in_flight.pop(number)
                self._rate_limiter.record_limits(sent_request, limits)
                self._handle_result(request, sent_request, result)
            case AlreadyDone():
                self._already_done.append(event)
                self._workers.continue_reporting()
            case AllFound(count=count):
                self._admission.total = count
            case ThreadCrashed():
                self.stop(event.get_stop_reason())
            case WakeUp():
                pass

    def _handle_ready(self, number: int, ready: ReadyImage) -> None:
        self._request_queue.add(QueuedRequest(number, ready))
        if isinstance(ready.image, PreparedImage):
            self._rate_limiter.capacity.record_image(ready.image.upload_size)

    def _handle_loaded(self, number: int, loaded: LoadedImage) -> None:
        """Let an image wait for an equal one, take its answer from the results file, or start work on it."""
        if self._duplicates.add_if_duplicate(number, loaded):
            self._finish_duplicates(loaded.key)
            return
        question = loaded.build_question(self._batch_request.build_request(loaded.task).prompt)
        match self._work_sharing.find_or_claim(loaded, question):
            case RecordedAnswer(record=record, has_own_line=True):
                self._queue_outcome(number, None, self._outcome_writer.build_skipped(loaded, record))
            case RecordedAnswer(record=record):
                self._queue_outcome(number, None, self._outcome_writer.build_duplicate(loaded, record))
            case ClaimedByOtherRun() as claimed:
                self._queue_outcome(number, None, claimed)
            case None:
                self._start_image(number, loaded, question)

    def _start_image(self, number: int, loaded: LoadedImage, question: Question) -> None:
        """Prepare an image that this run has claimed, unless it is given up, its answer is spooled, or it has to come last."""
        if (failure := self._find_given_up(loaded, question)) is not None:
            self.given_up_count += 1
            self._queue_outcome(number, None, Failed(loaded.task, failure, b"", key=loaded.key))
        elif (line := self._work_sharing.take_spooled(loaded.key, question)) is not None:
            self._duplicates.add_original(loaded)
            self._finish_image(number, loaded.key, Done(loaded.task, line.record, line.data, key=loaded.key))
        elif not (self._should_come_last(question) and self._admission.defer(number, loaded)):
            self._duplicates.add_original(loaded)
            self._workers.enqueue_preparation(number, loaded)

    def _find_given_up(self, loaded: LoadedImage, question: Question) -> Record | None:
        """Find the failure of an image whose answer was cut off or invalid as often as allowed, over all runs."""
        if self._plan.may_retry_incomplete:
            return None
        return self._work_sharing.find_given_up(loaded.key, question, max(1, self._plan.retries))

    def _should_come_last(self, question: Question) -> bool:
        """Whether the image failed in an earlier run, and the order does not matter."""
        return not self._plan.is_ordered and self._work_sharing.has_failed(question)

    def _handle_result(self, request: QueuedRequest, sent_request: InFlightRequest, result: AttemptResult) -> None:
        now, self._head_start_ends_at = self._clock(), -inf
        request.attempts += len(result.exchanges)
        self._rate_limiter.record_further_requests(len(result.exchanges) - 1)
        if self.log is not None:
            for line in format_exchanges(request.ready.image.name, result.exchanges, result.error):
                self.log(line)
        self._budget.record_request(result.billed_record, request.ready.input_tokens)
        if (error := self._budget.find_missing_price(self._batch_request.request.model)) is not None:
            self.stop(error)
        repeats_itself = result.error is not None and result.error.code == REPETITION
        if repeats_itself or result.answer_to_repair is not request.ready.answer_to_repair:
            request.ready = replace(
                request.ready,
                answer_to_repair=result.answer_to_repair,
                repetitions=request.ready.repetitions + repeats_itself,
            )
        if result.refused_fields or result.overflow:
            self._batch_request = self._batch_request.adapt(result, request.ready.input_tokens)
        if result.error is None:
            self._has_endpoint_answered = True
            self._answer_seconds.append(now - sent_request.sent_at)
            self._rate_limiter.record_success(sent_request, now, count_tokens(result.billed_record["usage"]))
            self._finish_request(request, result)
        else:
            self._handle_failure(request, sent_request, result, result.error)

    def _handle_failure(
        self, request: QueuedRequest, sent_request: InFlightRequest, result: AttemptResult, error: QvisionError
    ) -> None:
        """Stop the run, retry the image or give it up."""
        now = self._clock()
        kind, patience, cause = classify_failure(error), self._plan.patience, find_cause(error)
        self._last_error = f"HTTP {cause.status}" if cause.status else cause.code.replace("_", " ")
        retry_after = cause.retry_after if isinstance(cause, EndpointError) else None
        counts_for_image = self._rate_limiter.record_failure(sent_request, now, kind, retry_after)
        # A billed attempt, such as one whose answer was cut off, must not be repeated endlessly.
        counts_for_image = counts_for_image or is_billed(result.billed_record)
        request.counted_failures += counts_for_image
        request.first_failed_at = now if request.first_failed_at is None else request.first_failed_at
        if self._is_fatal(cause):
            self.stop(cause)
        elif self._is_final(kind, request):
            self._finish_request(request, result)
        elif retry_after is not None and retry_after > patience:
            message = f"the endpoint asks to wait {retry_after:g} s, longer than --patience {patience:g}"
            self.stop(_build_stop_error(error, message, hint="Try again later, or raise --patience."))
        elif self._rate_limiter.failing_since is not None and now - self._rate_limiter.failing_since > patience:
            message = f"the endpoint has given no complete answer for {patience:g} s"
            self.stop(_build_stop_error(error, message, hint="To wait longer, raise --patience."))
        elif now - request.first_failed_at > patience:  # while other images are answered
            self._finish_request(request, result)
        else:
            self._request_queue.add_retry(request, now, is_immediate=not counts_for_image)

    def _is_final(self, kind: FailureKind, request: QueuedRequest) -> bool:
        """Whether the image is not retried after a failure of this kind."""
        return (
            kind is FailureKind.PERMANENT
            or request.counted_failures > self._plan.retries
            or request.ready.repetitions > MAX_VARIATIONS
        )

    def _is_fatal(self, error: QvisionError) -> bool:
        """Whether the requests for all other images would fail too."""
        return isinstance(error, EndpointError) and (
            error.is_fatal or (error.code == "no_answer" and not self._has_endpoint_answered)
        )

    def _finish_request(self, request: QueuedRequest, result: AttemptResult) -> None:
        task, key = request.ready.task, request.ready.key
        outcome = self._outcome_writer.build_outcome(task, key, result, attempts=request.attempts)
        self._finish_image(request.number, key, outcome)
        if self._budget.record_and_check_last_failures(result.error) and result.error is not None:
            message = f"{self._plan.limits.failures.in_a_row:.0f} images in a row failed with the same error"
            advice = f"{result.error.hint.rstrip('.')}. " if result.error.hint else ""
            hint = f"{advice}To continue all the same, add: --max-failures 100%"
            self.stop(_build_stop_error(result.error, message, hint=hint))

    def _finish_image(self, number: int, key: str | None, outcome: Done | Failed) -> None:
        """Finish an image and the duplicates that wait for it."""
        self._queue_outcome(number, key, outcome)
        if key is not None:
            self._duplicates.set_record(key, outcome.record)
            self._finish_duplicates(key)

    def _finish_duplicates(self, key: str) -> None:
        for number, loaded, original, record in self._duplicates.pop_duplicates(key):
            outcome: Outcome
            if loaded.is_same_image(original):  # the list has the same image twice
                outcome = Skipped(loaded.task)
            else:
                outcome = self._outcome_writer.build_duplicate(loaded, record)
            self._queue_outcome(number, None, outcome)

    def _queue_outcome(self, number: int, key: str | None, outcome: Outcome | ClaimedByOtherRun) -> None:
        self._finished_count += 1
        self._output.put(number, key, outcome)
        # Skipped images and duplicates say nothing about how well this run works.
        counts = isinstance(outcome, Done | Failed) and not outcome.is_duplicate
        if counts and self._budget.record_and_check_failures(is_failure=isinstance(outcome, Failed)):
            self.stop(BatchIncompleteError("stopped at --max-failures", code="limit"))

    def _emit_outcomes(self) -> Iterator[Outcome | AlreadyDone | ClaimedByOtherRun | Waiting]:
        """Yield the outcomes that can be written; once one is written, duplicates find it in the results file."""
        while self._already_done:
            yield self._already_done.popleft()
        while (item := self._output.take(is_over=self._is_stopping and not self._in_flight)) is not None:
            key, outcome = item
            yield outcome
            if key is not None:
                self._duplicates.remove(key)
        yield from self._output.pop_new_waiting()


def _build_stop_error(error: QvisionError, message: str, *, hint: str) -> EndpointError:
    """Build the error that stops a run, from the error of its last request."""
    return EndpointError(f"{message}: {error.message}", hint=hint, code=error.code, status=error.status)
