"""When to ask again, and how long to wait before: what passes is tried again, politely."""

import random
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ..errors import EndpointError
from ..frozen import frozen


@frozen
class RetryScheduled:
    """The endpoint is asked again, in ``seconds``, for the ``attempt``-th of ``retries`` times; ``reason`` is the start of a sentence."""

    reason: str
    seconds: float
    attempt: int
    retries: int


#: Seconds before the second try at most; doubled for each further one.
_INITIAL_WAIT = 0.5


@frozen
class RetryLimits:
    """How often to ask again, and how long to wait.

    Attributes:
        retries: tries after the first one.
        max_wait: seconds before one of them; a server that asks for more is not waited for.
        max_time: seconds for a request in all, waiting included; ``None`` for no limit.
    """

    retries: int = 4
    max_wait: float = 60.0
    max_time: float | None = None


class Backoff:
    """The pauses between the attempts of one request: exponential with full jitter, or as the server asks.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015, for the jitter; RFC 9110, section 10.2.3, for
    ``Retry-After``.

    Args:
        jitter: a random number between two.
    """

    def __init__(self, limits: RetryLimits, *, jitter: Callable[[float, float], float] = random.uniform) -> None:
        self._limits = limits
        self._jitter = jitter
        self._wait = 0.0

    def compute_wait(self, error: EndpointError, number: int, *, left: float | None) -> float:
        """The seconds to wait after a failed try.

        Args:
            number: of the try, from 1.
            left: seconds until ``max_time`` is over.

        Raises:
            EndpointError: it is not to be tried again.
        """
        if not error.is_temporary or number > self._limits.retries:
            raise error
        longest = min(self._limits.max_wait, _INITIAL_WAIT * 2 ** (number - 1))
        asked = error.retry_after
        self._wait = self._jitter(0.0, longest) if asked is None else asked
        if self._wait > self._limits.max_wait:
            raise _limit_exceeded_error(
                error, f"it asks to wait {asked:.10g} s, longer than --retry-max-wait"
            ) from error
        if left is not None and self._wait >= left:
            raise _limit_exceeded_error(error, "--max-time is over before it can be asked again") from error
        return self._wait


def _limit_exceeded_error(error: EndpointError, why: str) -> EndpointError:
    return error.with_message(f"{error.message} ({why})", hint="Try again later, or raise that limit.")


def parse_retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """The seconds that a server asks to wait: ``retry-after-ms`` (OpenAI, Azure), or ``Retry-After`` as a number or a date.

    Args:
        headers: with names in any case, as httpx has them.
        now: what a date is counted from; the present by default.
    """
    if (milliseconds := _parse_number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    if (seconds := _parse_number(text)) is not None or text is None:
        return seconds
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (aware - (now or datetime.now(UTC))).total_seconds())


def _parse_number(text: str | None) -> float | None:
    return float(text) if text is not None and re.fullmatch(r"[ \t]*[0-9]{1,18}(\.[0-9]{1,9})?[ \t]*", text) else None
