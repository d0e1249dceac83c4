"""How fast a run sends requests: how many at once, how many per minute, and when all of them pause.

Pure: the caller passes the time, in seconds of a monotonic clock.
"""

import enum
from collections.abc import Iterable
from math import inf

from ..client.rate_limits import RateLimit
from ..client.retry import Jitter, half_jitter
from ..errors import (
    EmptyAnswerError,
    EndpointError,
    IncompleteAnswerError,
    NetworkError,
    QvisionError,
    UnreachableError,
)
from ..frozen import frozen
from .pace.capacity import Capacity
from .pace.concurrency import Concurrency, ConcurrencyState
from .pace.limits import PerMinuteLimit, ServerLimit

#: Seconds that all requests pause when none is in flight and the server does not say how long: at least, at most, and as a
#: fraction of the time since requests began to fail.
_FIRST_PAUSE, _LONGEST_PAUSE, _PAUSE_FRACTION = 0.1, 30.0, 0.2
#: The fraction of the server's own pause that is added to it at most, so that not all clients return at the same moment.
_SPREAD = 0.05
#: When this many images fail without a success in between, the endpoint is the cause, not the images.
_ENDPOINT_FAILURE_IMAGES = 5


class FailureKind(enum.Enum):
    """What a failed request says about later ones."""

    PERMANENT = enum.auto()  #: the endpoint works and refused this request
    UNUSABLE = enum.auto()  #: the endpoint works, but its answer cannot be used; another one may be usable
    TRANSIENT = enum.auto()  #: caused by the image or the endpoint
    CONNECTION_LOST = enum.auto()  #: the same, and the connection broke
    OVERLOADED = enum.auto()  #: no capacity, or the endpoint is unreachable; not caused by the image
    REFUSED = enum.auto()  #: too many requests; not caused by the image
    EXHAUSTED = enum.auto()  #: this machine has no file descriptor, memory or thread left; not caused by the image


#: Errors of answers that cannot be used, although the endpoint works; another answer may be usable.
_UNUSABLE_ANSWER_CODES = {"empty_answer", "repetition"}
#: No capacity: as the status, or as an error in the stream of a 200.
_OVERLOAD_STATUSES = {200, 503, 529}
#: Timeouts and conflicts. All other temporary errors from 400 to 499 are limits on requests: usually 429, but some
#: providers use 400 or 403.
_TIMEOUT_STATUSES = {408, 409, 424, 425, 498, 499}


def find_cause(error: QvisionError) -> QvisionError:
    """The endpoint's error that cut off an answer; for all other errors, the error itself."""
    cause = error.__cause__ if isinstance(error, IncompleteAnswerError) else None
    return cause if isinstance(cause, EndpointError) else error


def classify_failure(error: QvisionError) -> FailureKind:
    """Classify the error of a request; ``PERMANENT`` means that a retry would fail the same way."""
    match cause := find_cause(error):
        case EndpointError(code="resources"):
            return FailureKind.EXHAUSTED
        case UnreachableError():
            return FailureKind.OVERLOADED
        case EndpointError(is_temporary=True) if _is_refusal(cause):
            return FailureKind.REFUSED
        case EndpointError(is_temporary=True, status=status) if status in _OVERLOAD_STATUSES:
            return FailureKind.OVERLOADED if cause.code != "link_timeout" else FailureKind.TRANSIENT
        case EndpointError(is_temporary=True) | EndpointError(code="timeout" | "max_time" | "not_json"):
            return FailureKind.CONNECTION_LOST if isinstance(cause, NetworkError) else FailureKind.TRANSIENT
        case IncompleteAnswerError(code="cut_off"):
            return FailureKind.TRANSIENT
        case EmptyAnswerError(is_temporary=False):
            return FailureKind.PERMANENT
        case IncompleteAnswerError(code=code) if code in _UNUSABLE_ANSWER_CODES:
            return FailureKind.UNUSABLE
        case _:
            return FailureKind.PERMANENT


def _is_refusal(error: EndpointError) -> bool:
    """Whether a temporary error means too many requests."""
    return error.code != "link_timeout" and 400 <= (error.status or 0) < 500 and error.status not in _TIMEOUT_STATUSES


@frozen
class InFlightRequest:
    """A request that has no response yet.

    Attributes:
        image: the number of the image.
        number: counts the requests of the run.
        tokens_before: the estimated tokens of all requests up to this one.
    """

    image: int
    sent_at: float
    estimated_tokens: int
    number: int = 0
    tokens_before: int = 0


class RateLimiter:
    """Decides when the next request may be sent, and pauses all requests when the server needs it.

    Args:
        jobs: requests at once, at most; ``None`` for as many as the server takes.
        rpm: requests per minute.
        tpm: tokens per minute.
        start: with ``-j auto``, what an earlier run has learned.
        jitter: makes pauses random.

    Attributes:
        capacity: how many requests this machine holds.
        in_flight: requests without a response.
        failing_since: when the current series of failures began; ``None`` while requests succeed.
    """

    def __init__(
        self,
        jobs: int | None,
        *,
        rpm: float | None = None,
        tpm: float | None = None,
        start: ConcurrencyState | None = None,
        jitter: Jitter = half_jitter,
    ) -> None:
        self.concurrency = Concurrency(jobs, start)
        self.capacity = Capacity()
        self.in_flight = 0
        self.failing_since: float | None = None
        self._request_limit = PerMinuteLimit(rpm)
        self._token_limit = PerMinuteLimit(tpm)
        self._server_limits = {"requests": ServerLimit(), "tokens": ServerLimit()}
        self._jitter = jitter
        self._next_at = -inf  # the requests are spread evenly
        self._sent_count = self._sent_tokens = self._last_tokens = 0
        self._answers_since_sent = 0
        self._paused_until = -inf
        self._failing_images: set[int] = set()

    @property
    def limit(self) -> int:
        """The requests that may be in flight."""
        return int(min(self.concurrency.limit, self.capacity.limit))

    def change_limits(self, jobs: int | None, rpm: float | None, tpm: float | None) -> None:
        """Replace the limits that the user has set."""
        if jobs is not None:
            self.concurrency.change_maximum(jobs)
        self._request_limit.change(rpm)
        self._token_limit.change(tpm)

    def seconds_paused(self, now: float) -> float:
        """Return the seconds until the end of the current pause; 0 if there is none."""
        return max(0.0, self._paused_until - now)

    @property
    def summary(self) -> str:
        """The limit, for the summary of the run."""
        if self.limit == self.concurrency.limit:
            return self.concurrency.summary
        return f"{self.concurrency.summary}, reduced to {self.limit} by the limits of this machine"

    def seconds_until_allowed(self, now: float) -> float:
        """Return the seconds until a request may be sent; infinity while too many are in flight."""
        if self.in_flight >= self.limit:
            return inf
        return max(
            0.0,
            self._paused_until - now,
            self._next_at - now,
            self._request_limit.seconds_until_free(now),
            self._token_limit.seconds_until_free(now),
            self._server_limits["requests"].seconds_until_free(now, 1),
            self._server_limits["tokens"].seconds_until_free(now, self._last_tokens),  # the next one is about as large
        )

    def start_request(self, now: float, image: int, estimated_tokens: int) -> InFlightRequest:
        """Record that a request is sent."""
        self.in_flight += 1
        self._sent_count += 1
        self._sent_tokens += estimated_tokens
        self._last_tokens = estimated_tokens
        self._answers_since_sent = 0
        self._next_at = max(self._next_at, now) + self.concurrency.gap
        self._request_limit.spend(now, 1)
        self._token_limit.spend(now, estimated_tokens)
        self._server_limits["requests"].spend(1)
        self._server_limits["tokens"].spend(estimated_tokens)
        return InFlightRequest(image, now, estimated_tokens, self._sent_count, self._sent_tokens)

    def record_further_requests(self, count: int) -> None:
        """Record requests besides the first one that an image needed, such as one for each vote."""
        self._request_limit.adjust(max(0, count))

    def record_limits(self, request: InFlightRequest, limits: Iterable[RateLimit]) -> None:
        """Record the limits that a response reports."""
        spent = {
            "requests": self._sent_count - request.number,
            "tokens": self._sent_tokens - request.tokens_before,
        }
        for limit in limits:
            self._server_limits[limit.unit].update(limit, request.number, request.sent_at, spent[limit.unit])

    def record_success(self, request: InFlightRequest, now: float, tokens: int | None) -> None:
        """Record an answer.

        Args:
            tokens: in both directions; ``None`` if the server does not report them.
        """
        # Requests that are spread evenly seldom reach the limit itself.
        is_full = self.in_flight >= max(1, self.limit * 3 // 4) and self.concurrency.limit <= self.capacity.limit
        self.concurrency.record_success(now - request.sent_at, now, is_full=is_full)
        self.capacity.record_success()
        self._end_request(request, tokens)
        self._answers_since_sent += 1
        self._reset_failures()

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
            self._reset_failures()
            return True
        self.failing_since = now if self.failing_since is None else self.failing_since
        if kind is FailureKind.EXHAUSTED:
            self.capacity.record_exhausted(self.in_flight)
        else:
            self._failing_images.add(request.image)
        is_endpoint_cause = (
            kind in {FailureKind.OVERLOADED, FailureKind.REFUSED}
            or retry_after is not None
            or len(self._failing_images) >= _ENDPOINT_FAILURE_IMAGES
        )
        held = self.in_flight + self._answers_since_sent
        if kind is FailureKind.REFUSED or (is_endpoint_cause and retry_after):
            self._next_at -= self.concurrency.gap
            self.concurrency.record_refusal(request.sent_at, now, held=held, pause=retry_after or 0.0)
        elif is_endpoint_cause or kind is FailureKind.CONNECTION_LOST:
            self.concurrency.record_overload(now, held=held)
        if retry_after:
            self.pause(now, retry_after + self._jitter(_SPREAD * retry_after))
        counts_for_image = not is_endpoint_cause and kind is not FailureKind.EXHAUSTED
        if not counts_for_image and self.in_flight == 0:
            seconds = max(_FIRST_PAUSE, _PAUSE_FRACTION * (now - self.failing_since))
            self.pause(now, self._jitter(min(_LONGEST_PAUSE, seconds)))
        return counts_for_image

    def _end_request(self, request: InFlightRequest, tokens: int | None) -> None:
        self.in_flight -= 1
        if tokens is not None:
            self._token_limit.adjust(tokens - request.estimated_tokens)

    def _reset_failures(self) -> None:
        self.failing_since = None
        self._failing_images.clear()

    def pause(self, now: float, seconds: float) -> None:
        """Send no requests for some seconds."""
        self._paused_until = max(self._paused_until, now + seconds)
