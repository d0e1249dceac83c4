"""How many requests may be in flight, learned from answers and refusals. Pure.

The constants were chosen by the simulations in ``tests/batch/test_pace.py``, so that a run of a minute is nearly as fast
as with the best fixed number.
"""

import statistics
from collections import deque
from math import cbrt, ceil, inf

from ...frozen import frozen

#: Requests at once: how many ``-j auto`` starts with, and the maximum.
_INITIAL_CONCURRENCY, _MAX_CONCURRENCY = 8, 512
#: The factor by which the window grows until the server refuses a request or the throughput stops growing. With a factor
#: of 2, a run of a minute with answers after 2 s would lose a fifth of that time.
_FIRST_GROWTH = 3.0
#: The throughput is compared with that of the last window once the window is larger by this factor. It must have grown at
#: least by this fraction of the window's growth.
_CHECKED_GROWTH, _LEAST_GAIN = 1.4, 0.1
#: Answers per measurement: at least, and as a fraction of the window. With fewer, the result would depend on chance.
_LEAST_SAMPLES, _SAMPLED_FRACTION = 8, 0.6
#: The ``C`` of CUBIC, per round, for a level of up to 8: the first request above the level comes after three rounds.
_CUBIC_FACTOR = 1 / 27
_CUBIC_LEVEL = 8
#: Rounds below the level count twice.
_RECOVERY_STEP = 2.0
#: The fraction of a request that does not count: with a window of 8.2, a ninth request would often be refused.
_HYSTERESIS = 0.25
#: A refusal lowers the window no further than to this fraction, because the requests may only have been too close together.
_LARGEST_CUT = 0.8
#: The level, as a fraction of the window, if the server refuses even a single request: it limits requests per minute.
_LOWERED_LEVEL = 0.9
#: Requests are spread over somewhat less than the latency, which leaves room to catch up after a delay.
_SPREAD_FACTOR = 1.1
#: Seconds: the longest gap between two requests, and the shortest latency that is used in a division.
_LONGEST_GAP, _LEAST_LATENCY = 60.0, 1e-6
#: If a refusal comes with a pause, the window grows more slowly: after each of them, a round of answers counts as this
#: fraction of what it counted before. But a full round takes no longer than this many pauses.
_STEP_CUT, _PAUSES_PER_ROUND = 1 / 8, 16
#: The server is overloaded when this many of the last 20 requests failed. If one request in ten fails by chance, that
#: happens once in 10,000 times.
_FAILURE_WINDOW, _OVERLOAD_FAILURES = 20, 9


@frozen
class ConcurrencyState:
    """What a run has learned: how many requests the server takes at once, and whether more may be possible."""

    window: float
    is_growing: bool


class Concurrency:
    """How many requests may be in flight: as many as the server takes.

    The window is a number of requests that need not be whole: with 0.5, one is in flight half of the time. A refusal
    lowers it to what the server holds at that moment. From there it grows by a cubic function of the rounds since: fast
    back to the level where the server refused, slowly around it, and ever faster above it. Source: CUBIC, RFC 9438,
    section 4. Two things differ: a round trip is the latency of an answer, and the level is measured instead of being a
    fraction of the old window, because a refusal shows what the server holds, unlike a lost packet.

    After a refusal the requests are spread over the latency, because servers that limit requests per minute also refuse
    those that come together. If the server then refuses at the same number again, it limits that number, and until the
    next refusal requests are sent as soon as others are answered. A refusal at a smaller number shows that this was wrong.

    Args:
        jobs: the number of ``-j``, which is the maximum; ``None`` for ``auto``. Then the window triples until the server
            refuses, or gives no more answers per second than with a smaller one.
        start: with ``auto``, what an earlier run has learned.
    """

    def __init__(self, jobs: int | None = None, start: ConcurrencyState | None = None) -> None:
        start = start or ConcurrencyState(_INITIAL_CONCURRENCY, is_growing=True)
        self._maximum = jobs or _MAX_CONCURRENCY
        self._is_auto = jobs is None
        self._is_first_growth = self._is_auto and start.is_growing
        self._window = float(jobs or start.window)
        self._level = self._window
        self._plateau_round = 0.0  # K of CUBIC
        self._cubic_factor = _CUBIC_FACTOR
        self._rounds = 0.0  # since the window was lowered
        self._step = 1.0  # rounds that one round of answers counts
        self._window_before_trouble = self._window
        self._is_spread = False
        self._refused_at = 0
        self._must_spread, self._misjudged_at = False, -inf
        self._latency: float | None = None
        self._changed_at = -inf
        self._samples: list[float] = []
        self._checked_limit, self._checked_throughput = 1, 0.0
        self._is_doubtful = False
        self._recent_failures: deque[bool] = deque(maxlen=_FAILURE_WINDOW)
        self._answers_since_cut = 0

    @property
    def limit(self) -> int:
        """The requests that may be in flight."""
        return max(1, ceil(self._window - _HYSTERESIS))

    @property
    def state(self) -> ConcurrencyState:
        """What a later run can start from."""
        return ConcurrencyState(self._window, self._is_first_growth)

    def change_maximum(self, jobs: int) -> None:
        """Replace the number of ``-j``."""
        if not self._is_auto and jobs != self._maximum:
            # A window that the server has lowered grows by itself.
            self._window = float(jobs) if jobs < self._window or self._window == self._maximum else self._window
            self._level = min(self._level, jobs) if self._window < jobs else float(jobs)
            self._maximum = jobs

    @property
    def gap(self) -> float:
        """Seconds between two requests, while they are spread over the latency."""
        if not self._is_spread or self._latency is None:
            return 0.0
        return min(_LONGEST_GAP, self._latency / (_SPREAD_FACTOR * self._window))

    @property
    def summary(self) -> str:
        """The limit, for the summary of the run."""
        return f"-j auto found {self.limit}" if self._is_auto else f"-j {self._maximum}"

    def record_success(self, seconds: float, now: float, *, is_full: bool) -> None:
        """Record an answer and its latency.

        Args:
            is_full: the limit was reached; only then can a higher one help.
        """
        self._recent_failures.append(False)
        self._answers_since_cut += 1
        self._latency = seconds if self._latency is None else self._latency + (seconds - self._latency) / 8
        if not is_full:
            return
        if not self._is_first_growth:
            step = self._step if self._rounds >= self._plateau_round else _RECOVERY_STEP
            self._rounds += step / max(1.0, self._window)
            growth = self._cubic_factor * (self._rounds - self._plateau_round) ** 3
            self._window = min(self._maximum, self._level + growth)
            if self._window > self._level + max(min(1.0, self._level), self._level / 4):
                self._step = 1.0  # the server takes now what it refused before
        if self._is_auto and now - seconds >= self._changed_at:
            self._samples.append(seconds)
            if len(self._samples) >= max(_LEAST_SAMPLES, _SAMPLED_FRACTION * self._window):
                self._check_throughput(self.limit / max(_LEAST_LATENCY, statistics.median(self._samples)), now)

    def _check_throughput(self, throughput: float, now: float) -> None:
        """Compare the answers per second with those of the last smaller window."""
        self._samples = []
        growth = self.limit / self._checked_limit
        if growth < _CHECKED_GROWTH:
            self._checked_throughput = throughput
        elif throughput < self._checked_throughput * (1 + _LEAST_GAIN * (growth - 1)):
            if not self._is_doubtful:  # the first requests of a larger window may be slow for other reasons
                self._is_doubtful, self._changed_at = True, now
                return
            self._set_window(self._checked_limit, self._checked_limit, now)
        else:
            self._checked_limit, self._checked_throughput = self.limit, throughput
        self._is_doubtful = False
        if self._is_first_growth:
            self._changed_at = now
            self._window = min(self._maximum, self._window * _FIRST_GROWTH)

    def record_refusal(self, sent_at: float, now: float, *, held: int, pause: float) -> None:
        """Record that the server refused a request because there are too many.

        Args:
            held: the requests that the server had not refused when the last one was sent.
            pause: seconds that the server asks to wait; 0 if it does not.
        """
        self._recent_failures.append(True)
        if sent_at < self._misjudged_at:
            return
        if not self._is_spread and held < self._refused_at:
            self._is_spread, self._must_spread, self._misjudged_at = True, True, now
            return
        is_new = sent_at >= self._changed_at
        is_same = self._is_spread and is_new and held == self._refused_at and held > 1
        self._is_spread = self._must_spread or not is_same
        self._refused_at = held
        if is_new:
            least = self._latency / (_PAUSES_PER_ROUND * pause) if pause and self._latency else 1.0
            self._step = min(1.0, max(least, self._step * _STEP_CUT))
        if held >= 1:
            window = min(self._window, max(held, _LARGEST_CUT * self._window))
            self._set_window(window, window, now)
        elif self._window * _LARGEST_CUT > 1:
            self._set_window(1.0, max(1.0, self._window / 2), now)
        elif is_new and self._answers_since_cut:
            self._set_window(_LARGEST_CUT * self._window, _LOWERED_LEVEL * self._window, now)

    def record_overload(self, now: float, *, held: int) -> None:
        """Record a failure that may be an overload; some servers fail one request in ten at any load."""
        self._recent_failures.append(True)
        if self._answers_since_cut >= max(_FAILURE_WINDOW, self._window):
            self._window_before_trouble = self._window
        if held == 0:  # not even one request succeeds, so their number is not the cause
            self._set_window(min(1.0, self._window), max(self._window, self._window_before_trouble), now)
        elif sum(self._recent_failures) >= _OVERLOAD_FAILURES:
            self._recent_failures.clear()
            self._set_window(min(self._window, held), min(self._window, held), now)

    def _set_window(self, window: float, level: float, now: float) -> None:
        """Lower the window; it will grow back to ``level`` fast, and slowly from there."""
        self._window, self._level = window, level
        self._cubic_factor = _CUBIC_FACTOR * max(min(1.0, level), level / _CUBIC_LEVEL)
        self._plateau_round = cbrt((level - window) / self._cubic_factor)
        self._rounds, self._is_first_growth, self._answers_since_cut = 0.0, False, 0
        self._changed_at, self._samples, self._is_doubtful = now, [], False
        self._checked_limit, self._checked_throughput = self.limit, 0.0
