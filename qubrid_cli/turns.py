"""Whose turn it is: images that can be sent, and those to be asked about again when their time has come."""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from .pace import Ticket
from .work import Ready

#: Seconds before an image is asked about again; doubled each time.
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0


@dataclass(slots=True)
class Job:
    """An image that can be sent, and how it went so far.

    Attributes:
        failures: those that are held against it.
        since: when it failed first.
    """

    number: int
    ready: Ready
    attempts: int = 0
    failures: int = 0
    since: float | None = None
    ticket: Ticket | None = None


class Turns:
    """Jobs in the order in which they go; what is asked again goes first.

    Args:
        jitter: a random number between two.
    """

    def __init__(self, jitter: Callable[[float, float], float]) -> None:
        self._jitter = jitter
        self._ready: deque[Job] = deque()
        self._later: list[tuple[float, int, Job]] = []

    def add(self, job: Job) -> None:
        """A new one."""
        self._ready.append(job)

    def again(self, job: Job, now: float, *, at_once: bool) -> None:
        """One that is to be tried again, at once or after a pause that grows with its failures."""
        longest = 0.0 if at_once else min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(job.failures - 1, 10))
        heapq.heappush(self._later, (now + self._jitter(longest / 2, longest), job.number, job))

    def wait(self, now: float) -> float:
        """Seconds until there is one; infinity where none is known of."""
        if self._ready:
            return 0.0
        return max(0.0, self._later[0][0] - now) if self._later else inf

    def first(self, now: float) -> Job:
        """The next one, which stays; there must be one."""
        return self._later[0][-1] if self._is_late(now) else self._ready[0]

    def take(self, now: float) -> Job:
        """The next one; there must be one."""
        return heapq.heappop(self._later)[-1] if self._is_late(now) else self._ready.popleft()

    def _is_late(self, now: float) -> bool:
        return bool(self._later) and self._later[0][0] <= now
