"""When to retry a failed request, and how long to wait before the retry."""

import itertools
import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from ..errors import EndpointError
from ..frozen import frozen
from ..metrics import Stopwatch

_Item = TypeVar("_Item")


@frozen
class RetryScheduled:
    """The request will be sent again after ``seconds``, as retry ``attempt`` of ``retries``.

    Attributes:
        reason: why the last attempt failed, as the beginning of a message.
    """

    reason: str
    seconds: float
    attempt: int
    retries: int


#: Seconds; the longest wait before the first retry of a request.
_FIRST_WAIT = 0.5

Jitter = Callable[[float], float]


def full_jitter(seconds: float) -> float:
    """Pick a wait of up to this many seconds.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return random.uniform(0.0, seconds)  # noqa: S311  # no secret


def half_jitter(seconds: float) -> float:
    """Pick a wait between half of this many seconds and all of them."""
    return random.uniform(seconds / 2, seconds)  # noqa: S311  # no secret


class Backoff:
    """Exponential backoff with jitter.

    Args:
        first: seconds before the first retry; doubled for each retry after it.
        longest: the upper limit of a wait, in seconds.
        jitter: makes a wait random, so that many clients do not retry at the same moment.
    """

    def __init__(self, first: float, longest: float, jitter: Jitter) -> None:
        self._first = first
        self._longest = longest
        self._jitter = jitter

    def compute_wait(self, failures: int) -> float:
        """Return the seconds to wait after this many failures in a row, at least one."""
        return self._jitter(min(self._longest, self._first * 2 ** min(failures - 1, 30)))


@frozen
class RetryLimits:
    """How often to retry a request, and how long to wait before a retry.

    Attributes:
        retries: attempts after the first one.
        max_wait: the upper limit of a wait, in seconds; if the server asks for more, the request fails.
        max_time: seconds for the whole request, waits included; ``None`` for no limit.
    """

    retries: int = 4
    max_wait: float = 60.0
    max_time: float | None = None

    def compute_wait(
        self, error: EndpointError, attempt: int, *, seconds_left: float | None, jitter: Jitter = full_jitter
    ) -> float:
        """Return the seconds to wait after a failed attempt: as the server asks, else by exponential backoff.

        Args:
            attempt: the number of the failed attempt, from 1.
            seconds_left: seconds until ``max_time`` is over.

        Raises:
            EndpointError: the request must not be retried.

        Source: RFC 9110, section 10.2.3, for ``Retry-After``.
        """
        if not error.is_temporary or attempt > self.retries:
            raise error
        seconds = error.retry_after
        if seconds is None:
            seconds = Backoff(_FIRST_WAIT, self.max_wait, jitter).compute_wait(attempt)
        elif seconds > self.max_wait:
            reason = f"it asks to wait {seconds:.10g} s, longer than --retry-max-wait"
            raise _limit_exceeded_error(error, reason) from error
        if seconds_left is not None and seconds >= seconds_left:
            raise _limit_exceeded_error(error, "--max-time would be over before the retry") from error
        return seconds


def _limit_exceeded_error(error: EndpointError, reason: str) -> EndpointError:
    return error.with_message(f"{error.message} ({reason})", hint="Try again later, or raise that limit.")


def with_retries(
    send: Callable[[], Iterator[_Item]], limits: RetryLimits, stopwatch: Stopwatch, host: str
) -> Iterator[_Item | RetryScheduled]:
    """Send a request, and again after temporary errors; yield its items, and each retry before the wait for it.

    Raises:
        EndpointError: the last attempt failed.
    """
    for attempt in itertools.count(1):
        try:
            yield from send()
        except EndpointError as error:
            seconds = limits.compute_wait(error, attempt, seconds_left=stopwatch.seconds_left())
            reason = f"{error.status} from {host}" if error.status else error.message
            yield RetryScheduled(reason, seconds, attempt, limits.retries)
        else:
            return
        time.sleep(seconds)
