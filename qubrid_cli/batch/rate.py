"""How fast a run sends requests: how many at once, how many per minute, and when all of them pause.

Pure: the caller passes the time, in seconds of a monotonic clock.
"""

import enum
import statistics
from collections import deque
from math import inf

from ..client.retry import Backoff, Jitter, half_jitter
from ..errors import (
    EmptyAnswerError,
    EndpointError,
    IncompleteAnswerError,
    NetworkError,
    QvisionError,
    UnreachableError,
)
from ..frozen import frozen

#: Requests at once: how many a run starts with, and the maximum.
_INITIAL_CONCURRENCY = 4
_MAX_CONCURRENCY = 64
#: Answers per median; fewer would leave it to chance.
_LATENCY_WINDOW = 8
#: Median latency relative to the best one: the limit grows up to the first factor and shrinks above the second.
_STEADY_FACTOR = 1.5
_SLOWDOWN_FACTOR = 2.0
#: The server is overloaded when this many of the last 20 requests failed. If one request in ten fails by chance, that
#: happens once in 400 times.
_FAILURE_WINDOW, _OVERLOAD_FAILURES = 20, 7
#: Seconds that all requests pause when the server does not say how long; doubled until a request succeeds.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 30.0
#: When this many images fail without a success in between, the cause is the endpoint, not the images.
_ENDPOINT_FAILURE_IMAGES = 5


class FixedConcurrency:
    """As many requests at once as the user sets."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    @property
    def summary(self) -> str:
        """The limit, for the summary of the run."""
        return f"-j {self.limit}"

    def record_success(self, seconds: float, *, is_full: bool) -> None:
        """Do nothing: the limit is fixed."""

    def record_overload(self, *, is_new: bool, has_retry_after: bool) -> None:
        """Do nothing: the limit is fixed."""


class AdaptiveConcurrency:
    """As many requests at once as the server answers without slowing down.

    The limit doubles until the server is overloaded or slows down for the first time; from then on it grows by one.
    An overload halves it. Source: slow start and congestion avoidance, RFC 5681, section 3.1, with the latency as a
    second signal. There, one lost packet is a signal. Here, one failure is not: some servers fail one request in ten
    at any load.
    """

    def __init__(self) -> None:
        self.limit = _INITIAL_CONCURRENCY
        self._is_slow_start = True
        self._was_full = False
        self._latencies: list[float] = []
        self._best_median = inf
        self._recent_failures: deque[bool] = deque(maxlen=_FAILURE_WINDOW)

    @property
    def summary(self) -> str:
        """The limit, for the summary of the run."""
        return f"-j auto found {self.limit}"

    def record_success(self, seconds: float, *, is_full: bool) -> None:
        """Record an answer and its latency.

        Args:
            is_full: the limit was reached; only then can a higher one help.
        """
        self._recent_failures.append(False)
        self._latencies.append(seconds)
        self._was_full = self._was_full or is_full
        if len(self._latencies) < max(_LATENCY_WINDOW, self.limit):
            return
        median, was_full = statistics.median(self._latencies), self._was_full
        self._latencies, self._was_full = [], False
        self._best_median = min(self._best_median, median)
        if median > _SLOWDOWN_FACTOR * self._best_median:
            self._is_slow_start = False
            self.limit = max(1, self.limit - 1)
        elif median > _STEADY_FACTOR * self._best_median:
            self._is_slow_start = False
        elif was_full:
            self.limit = min(_MAX_CONCURRENCY, self.limit * 2 if self._is_slow_start else self.limit + 1)

    def record_overload(self, *, is_new: bool, has_retry_after: bool) -> None:
        """Record a failure that may be an overload.

        Args:
            is_new: the request was sent after the last overload began.
            has_retry_after: the server asks for a pause.
        """
        self._recent_failures.append(True)
        if is_new and (has_retry_after or sum(self._recent_failures) >= _OVERLOAD_FAILURES):
            self._recent_failures.clear()
            self._is_slow_start = False
            self._latencies, self._was_full = [], False
            self.limit = max(1, self.limit // 2)


Concurrency = FixedConcurrency | AdaptiveConcurrency


class PerMinuteLimit:
    """An amount per minute, spread evenly over it.

    Args:
        per_minute: ``None`` for no limit.
    """

    def __init__(self, per_minute: int | None) -> None:
        self._seconds_each = 60 / per_minute if per_minute else 0.0
        self._free_at = -inf

    def seconds_until_free(self, now: float) -> float:
        """Return the seconds until more may be spent."""
        return max(0.0, self._free_at - now)

    def spend(self, now: float, amount: int) -> None:
        """Use an amount."""
        self._free_at = max(self._free_at, now) + amount * self._seconds_each

    def adjust(self, amount: int) -> None:
        """Correct the amount used so far, up or down."""
        self._free_at += amount * self._seconds_each


class FailureKind(enum.Enum):
    """What a failed request says about later ones."""

    PERMANENT = enum.auto()  #: the endpoint works and refused this request
    UNUSABLE = enum.auto()  #: the endpoint works, but its answer cannot be used; another one may be usable
    TRANSIENT = enum.auto()  #: caused by the image or the endpoint
    CONNECTION_LOST = enum.auto()  #: the same, and the connection broke
    OVERLOADED = enum.auto()  #: too many requests, or the endpoint is unreachable; not caused by the image


#: Answers of a working endpoint that cannot be used, but may be usable if they are requested again.
_UNUSABLE_ANSWER_CODES = {"empty_answer", "repetition"}
#: Too many requests, or no capacity: as the status, or as an error in the stream of a 200.
_OVERLOAD_STATUSES = {200, 429, 503, 529}
#: Other temporary errors below 500 are timeouts and conflicts. Any further one is a limit on requests under a status that
#: usually means something else; some providers use 400 or 403.
_TIMEOUT_STATUSES = {408, 409, 424, 425, 498, 499}


def find_cause(error: QvisionError) -> QvisionError:
    """The error of the endpoint that cut off an answer, else the error itself."""
    cause = error.__cause__ if isinstance(error, IncompleteAnswerError) else None
    return cause if isinstance(cause, EndpointError) else error


def classify_failure(error: QvisionError) -> FailureKind:
    """Classify the error of a request; ``PERMANENT`` means that a retry would fail the same way."""
    match cause := find_cause(error):
        case UnreachableError():
            return FailureKind.OVERLOADED
        case EndpointError(is_temporary=True) if _is_overload(cause):
            return FailureKind.OVERLOADED
        case EndpointError(is_temporary=True) | EndpointError(code="timeout" | "not_json"):
            return FailureKind.CONNECTION_LOST if isinstance(cause, NetworkError) else FailureKind.TRANSIENT
        case IncompleteAnswerError(code="cut_off"):
            return FailureKind.TRANSIENT
        case EmptyAnswerError(is_temporary=False):
            return FailureKind.PERMANENT
        case IncompleteAnswerError(code=code) if code in _UNUSABLE_ANSWER_CODES:
            return FailureKind.UNUSABLE
        case _:
            return FailureKind.PERMANENT


def _is_overload(error: EndpointError) -> bool:
    """Whether a temporary error means too many requests, or no capacity."""
    if error.status is None or error.code == "link_timeout":
        return False
    return error.status in _OVERLOAD_STATUSES or (400 <= error.status < 500 and error.status not in _TIMEOUT_STATUSES)


@frozen
class InFlightRequest:
    """A request that has no response yet: its image, when it was sent, and its estimated tokens."""

    image: int
    sent_at: float
    estimated_tokens: int


class RateLimiter:
    """Says when the next request may be sent, and pauses all requests when the server needs it.

    Args:
        rpm: requests per minute.
        tpm: tokens per minute.

    Attributes:
        in_flight: requests without a response.
        failing_since: when the current series of failures began; ``None`` while requests succeed.
    """

    def __init__(
        self, concurrency: Concurrency, *, rpm: int | None = None, tpm: int | None = None, jitter: Jitter = half_jitter
    ) -> None:
        self.concurrency = concurrency
        self.in_flight = 0
        self.failing_since: float | None = None
        self._request_limit = PerMinuteLimit(rpm)
        self._token_limit = PerMinuteLimit(tpm)
        self._backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE, jitter)
        self._overload_count = 0  # since the last success
        self._overloaded_at = -inf
        self._paused_until = -inf
        self._failing_images: set[int] = set()

    def seconds_until_allowed(self, now: float) -> float:
        """Return the seconds until a request may be sent; infinity while too many are in flight."""
        if self.in_flight >= self.concurrency.limit:
            return inf
        limits = (self._request_limit, self._token_limit)
        return max(0.0, self._paused_until - now, *(limit.seconds_until_free(now) for limit in limits))

    def start_request(self, now: float, image: int, estimated_tokens: int) -> InFlightRequest:
        """Record that a request is sent."""
        self.in_flight += 1
        self._request_limit.spend(now, 1)
        self._token_limit.spend(now, estimated_tokens)
        return InFlightRequest(image, now, estimated_tokens)

    def record_success(self, request: InFlightRequest, now: float, tokens: int | None) -> None:
        """Record an answer.

        Args:
            tokens: in both directions; ``None`` if the server does not report them.
        """
        self.concurrency.record_success(now - request.sent_at, is_full=self.in_flight >= self.concurrency.limit)
        self._end_request(request, tokens)
        self._reset_failures(request)

    def record_failure(
        self, request: InFlightRequest, now: float, kind: FailureKind, retry_after: float | None = None
    ) -> bool:
        """Record a failure, and pause all requests if the endpoint is the cause.

        Args:
            retry_after: seconds that the server asks clients to wait; the pause is never shorter.

        Returns:
            Whether the failure counts against the image; it does not if the endpoint has trouble with every image.
        """
        self._end_request(request, 0)
        if kind in {FailureKind.PERMANENT, FailureKind.UNUSABLE}:
            self._reset_failures(request)
            return True
        self._failing_images.add(request.image)
        self.failing_since = now if self.failing_since is None else self.failing_since
        is_endpoint = (
            kind is FailureKind.OVERLOADED
            or retry_after is not None
            or len(self._failing_images) >= _ENDPOINT_FAILURE_IMAGES
        )
        # The failure of a request that was in flight when an overload began belongs to that overload.
        is_new = request.sent_at >= self._overloaded_at
        if is_endpoint or kind is FailureKind.CONNECTION_LOST:
            self.concurrency.record_overload(is_new=is_new, has_retry_after=bool(retry_after))
            if is_new:
                self._overloaded_at = now
                if is_endpoint:  # even if retry_after is 0: some servers say so and go on refusing
                    self._overload_count += 1
                    self._pause(now, self._backoff.compute_wait(self._overload_count))
        self._pause(now, retry_after or 0.0)
        return not is_endpoint

    def _end_request(self, request: InFlightRequest, tokens: int | None) -> None:
        self.in_flight -= 1
        if tokens is not None:
            self._token_limit.adjust(tokens - request.estimated_tokens)

    def _reset_failures(self, request: InFlightRequest) -> None:
        self.failing_since = None
        self._failing_images.clear()
        if request.sent_at >= self._overloaded_at:
            self._overload_count = 0

    def _pause(self, now: float, seconds: float) -> None:
        self._paused_until = max(self._paused_until, now + seconds)
