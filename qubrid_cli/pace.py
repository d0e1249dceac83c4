"""How fast to ask: how many requests at once, how many a minute, and when all of them had better wait.

Pure: whoever asks brings the time, in seconds of a clock that never goes back.
"""

import enum
import random
import statistics
from collections import deque
from collections.abc import Callable
from math import inf

from .frozen import frozen

#: Requests at once: how many to begin with, and how many at most.
_FIRST_JOBS = 4
_MAX_JOBS = 64
#: Answers whose middle is compared; of fewer, chance decides.
_WINDOW = 8
#: Against the best middle seen: more requests at once up to the first, fewer from the second on.
_HOLDS = 1.5
_SUFFERS = 2.0
#: Of the last so many answers and failures, as many that were trouble mean that it is too much for the server; one in
#: ten that fails by chance comes to that once in 400 times.
_LATELY, _TOO_MUCH = 20, 7
#: Seconds to wait where the server does not say how long; doubled while nothing comes through.
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 30.0
#: So many images failing with no success between them: it is not the images.
_EVERYWHERE = 5


class Fixed:
    """As many requests at once as the user said."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    @property
    def told(self) -> str:
        """What the summary says of it."""
        return f"-j {self.limit}"

    def answered(self, seconds: float, *, is_full: bool) -> None:
        """An answer came after so long; that changes nothing."""

    def troubled(self, *, is_new: bool, is_told: bool) -> None:
        """The server could not keep up; the user decided all the same."""


class Adaptive:
    """As many requests at once as the server takes without slowing down: more while the latency holds, half after trouble.

    The number doubles until it is halved first or answers slow down first, then it grows by one. Source: slow start and
    congestion avoidance, RFC 5681, section 3.1, with the latency as a second sign. A lost packet is a sign there; a
    failure by itself is none here, for there are servers that fail one time in ten however little they have to do.
    """

    def __init__(self) -> None:
        self.limit = _FIRST_JOBS
        self._is_starting = True
        self._was_full = False
        self._latencies: list[float] = []
        self._best = inf
        self._lately: deque[bool] = deque(maxlen=_LATELY)  # whether it was trouble

    @property
    def told(self) -> str:
        """What the summary says of it."""
        return f"-j auto found {self.limit}"

    def answered(self, seconds: float, *, is_full: bool) -> None:
        """An answer came after so long.

        Args:
            is_full: as many requests as may be were on their way; only then would more of them be of use.
        """
        self._lately.append(False)
        self._latencies.append(seconds)
        self._was_full = self._was_full or is_full
        if len(self._latencies) < max(_WINDOW, self.limit):
            return
        middle, was_full = statistics.median(self._latencies), self._was_full
        self._latencies, self._was_full = [], False
        self._best = min(self._best, middle)
        if middle > _SUFFERS * self._best:
            self._is_starting = False
            self.limit = max(1, self.limit - 1)
        elif middle > _HOLDS * self._best:
            self._is_starting = False
        elif was_full:
            self.limit = min(_MAX_JOBS, self.limit * 2 if self._is_starting else self.limit + 1)

    def troubled(self, *, is_new: bool, is_told: bool) -> None:
        """Perhaps the server could not keep up.

        Args:
            is_new: it was asked since the last trouble began, so that this is more than the rest of that.
            is_told: it says itself that it needs a pause.
        """
        self._lately.append(True)
        if is_new and (is_told or sum(self._lately) >= _TOO_MUCH):
            self._lately.clear()
            self._is_starting = False
            self._latencies, self._was_full = [], False
            self.limit = max(1, self.limit // 2)


Jobs = Fixed | Adaptive


class Rate:
    """So much a minute at most, spread evenly: an amount is free again when the time that it stands for is over.

    Args:
        per_minute: ``None`` for no limit.
    """

    def __init__(self, per_minute: int | None) -> None:
        self._seconds_each = 60 / per_minute if per_minute else 0.0
        self._free_at = -inf

    def wait(self, now: float) -> float:
        """Seconds until something may go."""
        return max(0.0, self._free_at - now)

    def spend(self, now: float, amount: int) -> None:
        """Something goes."""
        self._free_at = max(self._free_at, now) + amount * self._seconds_each

    def correct(self, amount: int) -> None:
        """It was more by so much, or less."""
        self._free_at += amount * self._seconds_each


class Trouble(enum.Enum):
    """What a failed request says about the next ones."""

    NONE = enum.auto()  #: the endpoint refused this one, and is well
    FAILED = enum.auto()  #: perhaps it is this image, perhaps the endpoint
    BROKEN = enum.auto()  #: so too, and the connection is gone
    CROWDED = enum.auto()  #: asked too often, or nobody is there: it is not the image


@frozen
class Ticket:
    """A request on its way: for which image, since when, with how many tokens in all probability."""

    image: int
    sent: float
    tokens: int


class Gate:
    """Lets requests go, one by one, and has all of them wait when the server needs it.

    Args:
        rpm: requests a minute at most.
        tpm: tokens a minute at most.
        jitter: a random number between two.
    """

    def __init__(
        self,
        jobs: Jobs,
        *,
        rpm: int | None = None,
        tpm: int | None = None,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.jobs = jobs
        self.in_flight = 0
        #: Since when nothing but trouble comes back; ``None`` where all is well.
        self.away_since: float | None = None
        self._rates = Rate(rpm), Rate(tpm)
        self._jitter = jitter
        self._paused_until = -inf
        self._troubled_at = -inf
        self._rounds = 0  # of trouble, one after the other
        self._failing: set[int] = set()

    def wait(self, now: float) -> float:
        """Seconds until a request may go: 0 for at once, infinity while too many are on their way."""
        if self.in_flight >= self.jobs.limit:
            return inf
        return max(0.0, self._paused_until - now, *(rate.wait(now) for rate in self._rates))

    def enter(self, now: float, image: int, tokens: int) -> Ticket:
        """A request goes."""
        self.in_flight += 1
        for rate, amount in zip(self._rates, (1, tokens), strict=True):
            rate.spend(now, amount)
        return Ticket(image, now, tokens)

    def succeeded(self, ticket: Ticket, now: float, tokens: int | None) -> None:
        """It was answered; with so many tokens, if the server said."""
        self.jobs.answered(now - ticket.sent, is_full=self.in_flight >= self.jobs.limit)
        self._leave(ticket, tokens)
        self._is_well(ticket)

    def failed(self, ticket: Ticket, now: float, trouble: Trouble, retry_after: float | None = None) -> bool:
        """It was not answered. What the server asks for is the least that all wait then.

        Args:
            retry_after: seconds that the server asks to wait.

        Returns:
            Whether that is held against the image: not where the endpoint has trouble with everything.
        """
        self._leave(ticket, 0)
        if trouble is Trouble.NONE:
            self._is_well(ticket)
            return True
        self._failing.add(ticket.image)
        self.away_since = now if self.away_since is None else self.away_since
        is_everywhere = trouble is Trouble.CROWDED or retry_after is not None or len(self._failing) >= _EVERYWHERE
        # What was on its way when trouble began belongs to the same trouble.
        is_new = ticket.sent >= self._troubled_at
        if is_everywhere or trouble is Trouble.BROKEN:
            self.jobs.troubled(is_new=is_new, is_told=bool(retry_after))
            if is_new:
                self._troubled_at = now
                # Some servers ask for 0 seconds, and go on to refuse.
                self._pause(now, self._next_pause() if is_everywhere else 0.0)
        self._pause(now, retry_after or 0.0)
        return not is_everywhere

    def _leave(self, ticket: Ticket, tokens: int | None) -> None:
        self.in_flight -= 1
        if tokens is not None:
            self._rates[1].correct(tokens - ticket.tokens)

    def _is_well(self, ticket: Ticket) -> None:
        self.away_since = None
        self._failing.clear()
        if ticket.sent >= self._troubled_at:
            self._rounds = 0

    def _next_pause(self) -> float:
        longest: float = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(self._rounds, 10))
        self._rounds += 1
        return self._jitter(longest / 2, longest)  # others may have been turned away at the same moment

    def _pause(self, now: float, seconds: float) -> None:
        self._paused_until = max(self._paused_until, now + seconds)
