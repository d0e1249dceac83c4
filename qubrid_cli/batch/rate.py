"""How fast to ask: how many requests at once, how many a minute, and when all of them had better wait.

Pure: whoever asks brings the time, in seconds of a clock that never goes back.
"""

import enum
import random
import statistics
from collections import deque
from collections.abc import Callable
from math import inf

from ..frozen import frozen

#: Requests at once: how many to begin with, and how many at most.
_INITIAL_CONCURRENCY = 4
_MAX_CONCURRENCY = 64
#: Answers whose middle is compared; of fewer, chance decides.
_LATENCY_WINDOW = 8
#: Against the best middle seen: more requests at once up to the first, fewer from the second on.
_STEADY_FACTOR = 1.5
_SLOWDOWN_FACTOR = 2.0
#: Of the last so many answers and failures, as many that were trouble mean that it is too much for the server; one in
#: ten that fails by chance comes to that once in 400 times.
_FAILURE_WINDOW, _OVERLOAD_FAILURES = 20, 7
#: Seconds to wait where the server does not say how long; doubled while nothing comes through.
_FIRST_BACKOFF = 0.1
_MAX_BACKOFF = 30.0
#: So many images failing with no success between them: it is not the images.
_OVERLOAD_FAILING_IMAGES = 5


class FixedConcurrency:
    """As many requests at once as the user said."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    @property
    def summary(self) -> str:
        """What the summary says of it."""
        return f"-j {self.limit}"

    def record_success(self, seconds: float, *, is_full: bool) -> None:
        """An answer came after so long; that changes nothing."""

    def record_overload(self, *, is_new: bool, has_retry_after: bool) -> None:
        """The server could not keep up; the user decided all the same."""


class AdaptiveConcurrency:
    """As many requests at once as the server takes without slowing down: more while the latency holds, half after trouble.

    The number doubles until it is halved first or answers slow down first, then it grows by one. Source: slow start and
    congestion avoidance, RFC 5681, section 3.1, with the latency as a second sign. A lost packet is a sign there; a
    failure by itself is none here, for there are servers that fail one time in ten however little they have to do.
    """

    def __init__(self) -> None:
        self.limit = _INITIAL_CONCURRENCY
        self._is_slow_start = True
        self._was_full = False
        self._latencies: list[float] = []
        self._best_median = inf
        self._recent_failures: deque[bool] = deque(maxlen=_FAILURE_WINDOW)  # whether it was trouble

    @property
    def summary(self) -> str:
        """What the summary says of it."""
        return f"-j auto found {self.limit}"

    def record_success(self, seconds: float, *, is_full: bool) -> None:
        """An answer came after so long.

        Args:
            is_full: as many requests as may be were on their way; only then would more of them be of use.
        """
        self._recent_failures.append(False)
        self._latencies.append(seconds)
        self._was_full = self._was_full or is_full
        if len(self._latencies) < max(_LATENCY_WINDOW, self.limit):
            return
        middle, was_full = statistics.median(self._latencies), self._was_full
        self._latencies, self._was_full = [], False
        self._best_median = min(self._best_median, middle)
        if middle > _SLOWDOWN_FACTOR * self._best_median:
            self._is_slow_start = False
            self.limit = max(1, self.limit - 1)
        elif middle > _STEADY_FACTOR * self._best_median:
            self._is_slow_start = False
        elif was_full:
            self.limit = min(_MAX_CONCURRENCY, self.limit * 2 if self._is_slow_start else self.limit + 1)

    def record_overload(self, *, is_new: bool, has_retry_after: bool) -> None:
        """Perhaps the server could not keep up.

        Args:
            is_new: it was asked since the last trouble began, so that this is more than the rest of that.
            has_retry_after: it says itself that it needs a pause.
        """
        self._recent_failures.append(True)
        if is_new and (has_retry_after or sum(self._recent_failures) >= _OVERLOAD_FAILURES):
            self._recent_failures.clear()
            self._is_slow_start = False
            self._latencies, self._was_full = [], False
            self.limit = max(1, self.limit // 2)


Concurrency = FixedConcurrency | AdaptiveConcurrency


class PerMinuteLimit:
    """So much a minute at most, spread evenly: an amount is free again when the time that it stands for is over.

    Args:
        per_minute: ``None`` for no limit.
    """

    def __init__(self, per_minute: int | None) -> None:
        self._seconds_each = 60 / per_minute if per_minute else 0.0
        self._free_at = -inf

    def seconds_until_free(self, now: float) -> float:
        """Seconds until something may go."""
        return max(0.0, self._free_at - now)

    def spend(self, now: float, amount: int) -> None:
        """Something goes."""
        self._free_at = max(self._free_at, now) + amount * self._seconds_each

    def adjust(self, amount: int) -> None:
        """It was more by so much, or less."""
        self._free_at += amount * self._seconds_each


class FailureKind(enum.Enum):
    """What a failed request says about the next ones."""

    PERMANENT = enum.auto()  #: the endpoint refused this one, and is well
    TRANSIENT = enum.auto()  #: perhaps it is this image, perhaps the endpoint
    CONNECTION_LOST = enum.auto()  #: so too, and the connection is gone
    OVERLOADED = enum.auto()  #: asked too often, or nobody is there: it is not the image


@frozen
class InFlightRequest:
    """A request on its way: for which image, since when, with how many tokens in all probability."""

    image: int
    sent_at: float
    estimated_tokens: int


class RateLimiter:
    """Lets requests go, one by one, and has all of them wait when the server needs it.

    Args:
        rpm: requests a minute at most.
        tpm: tokens a minute at most.
        jitter: a random number between two.
    """

    def __init__(
        self,
        concurrency: Concurrency,
        *,
        rpm: int | None = None,
        tpm: int | None = None,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.concurrency = concurrency
        self.in_flight = 0
        #: Since when nothing but trouble comes back; ``None`` where all is well.
        self.failing_since: float | None = None
        self._limits = PerMinuteLimit(rpm), PerMinuteLimit(tpm)
        self._jitter = jitter
        self._paused_until = -inf
        self._overloaded_at = -inf
        self._backoff_rounds = 0  # of trouble, one after the other
        self._failing_images: set[int] = set()

    def seconds_until_allowed(self, now: float) -> float:
        """Seconds until a request may go: 0 for at once, infinity while too many are on their way."""
        if self.in_flight >= self.concurrency.limit:
            return inf
        return max(0.0, self._paused_until - now, *(rate.seconds_until_free(now) for rate in self._limits))

    def start_request(self, now: float, image: int, estimated_tokens: int) -> InFlightRequest:
        """A request goes."""
        self.in_flight += 1
        for rate, amount in zip(self._limits, (1, estimated_tokens), strict=True):
            rate.spend(now, amount)
        return InFlightRequest(image, now, estimated_tokens)

    def record_success(self, request: InFlightRequest, now: float, tokens: int | None) -> None:
        """It was answered; with so many tokens, if the server said."""
        self.concurrency.record_success(now - request.sent_at, is_full=self.in_flight >= self.concurrency.limit)
        self._end_request(request, tokens)
        self._reset_failures(request)

    def record_failure(
        self, request: InFlightRequest, now: float, kind: FailureKind, retry_after: float | None = None
    ) -> bool:
        """It was not answered. What the server asks for is the least that all wait then.

        Args:
            retry_after: seconds that the server asks to wait.

        Returns:
            Whether that is held against the image: not where the endpoint has trouble with everything.
        """
        self._end_request(request, 0)
        if kind is FailureKind.PERMANENT:
            self._reset_failures(request)
            return True
        self._failing_images.add(request.image)
        self.failing_since = now if self.failing_since is None else self.failing_since
        is_everywhere = (
            kind is FailureKind.OVERLOADED
            or retry_after is not None
            or len(self._failing_images) >= _OVERLOAD_FAILING_IMAGES
        )
        # What was on its way when trouble began belongs to the same trouble.
        is_new = request.sent_at >= self._overloaded_at
        if is_everywhere or kind is FailureKind.CONNECTION_LOST:
            self.concurrency.record_overload(is_new=is_new, has_retry_after=bool(retry_after))
            if is_new:
                self._overloaded_at = now
                # Some servers ask for 0 seconds, and go on to refuse.
                self._pause(now, self._next_backoff() if is_everywhere else 0.0)
        self._pause(now, retry_after or 0.0)
        return not is_everywhere

    def _end_request(self, request: InFlightRequest, tokens: int | None) -> None:
        self.in_flight -= 1
        if tokens is not None:
            self._limits[1].adjust(tokens - request.estimated_tokens)

    def _reset_failures(self, request: InFlightRequest) -> None:
        self.failing_since = None
        self._failing_images.clear()
        if request.sent_at >= self._overloaded_at:
            self._backoff_rounds = 0

    def _next_backoff(self) -> float:
        longest: float = min(_MAX_BACKOFF, _FIRST_BACKOFF * 2 ** min(self._backoff_rounds, 10))
        self._backoff_rounds += 1
        return self._jitter(longest / 2, longest)  # others may have been turned away at the same moment

    def _pause(self, now: float, seconds: float) -> None:
        self._paused_until = max(self._paused_until, now + seconds)
