"""What a run has come to: counted while it goes on, and told at its end."""

import statistics
import time
from array import array
from collections import Counter, deque
from collections.abc import Iterator
from math import ceil
from typing import Any

from .budget import Spent
from .costs import Cost
from .entries import Record
from .errors import printable
from .metrics import Clock, server_figures
from .outcomes import Done, Failed, Outcome, Skipped
from .records import readable_size

#: Answers whose middle is shown while the run goes on.
_RECENT = 100
#: Seconds over which the speed is taken that the time left is told by.
_SPEED_OVER = 60.0


class Series:
    """Times or speeds of many answers, eight bytes each."""

    def __init__(self) -> None:
        self._values = array("d")

    def add(self, value: float | None) -> None:
        """One more, if it is known."""
        if value is not None:
            self._values.append(value)

    def __len__(self) -> int:
        return len(self._values)

    def percentile(self, percent: int) -> float:
        """The value that so many percent do not exceed; there must be one (nearest rank)."""
        return sorted(self._values)[max(0, ceil(len(self._values) * percent / 100) - 1)]


class Tally:
    """Counts outcomes.

    Attributes:
        total: images in all, as far as that is known.
        in_flight: requests on their way.

    Args:
        spent: what all answers took, which is counted elsewhere: some come to nothing.
    """

    def __init__(self, spent: Spent, *, clock: Clock = time.monotonic) -> None:
        self._spent = spent
        self.total: int | None = None
        self.in_flight = 0
        self.done = self.copied = self.failed = self.skipped = 0
        self.before = self.after = 0
        self.kinds: Counter[str] = Counter()
        self.recent: deque[float] = deque(maxlen=_RECENT)
        self._server = {name: Series() for name in ("ttft", "total", "rate")}
        self._ours = {name: Series() for name in ("ttft", "total", "rate")}
        self._clock = clock
        self._began = clock()
        self._history: deque[tuple[float, int]] = deque([(self._began, 0)])

    @property
    def finished(self) -> int:
        """Images that are through."""
        return self.done + self.failed + self.skipped

    @property
    def seconds(self) -> float:
        """How long it has been going on."""
        return self._clock() - self._began

    def take(self, outcome: Outcome) -> None:
        """Count an image."""
        match outcome:
            case Skipped():
                self.skipped += 1
            case Done():
                self.done += 1
                self.copied += outcome.is_copy
            case Failed():
                self.failed += 1
                self.kinds[_kind(outcome.record["error"])] += 1
        if not isinstance(outcome, Skipped) and not outcome.is_copy:
            self._measure(outcome.record)
        now = self._clock()
        if now - self._history[-1][0] >= 1:
            self._history.append((now, self.finished))
            while self._history[1][0] < now - _SPEED_OVER:
                self._history.popleft()

    def _measure(self, record: Record) -> None:
        for image in record["images"]:
            if image["sent"] is not None:
                self.before += image["bytes"]
                self.after += image["sent"]["bytes"]
        if record["error"] is not None:
            return
        timing = record["timing"]
        if timing["total_seconds"] is not None:
            self.recent.append(timing["total_seconds"])
            self._ours["total"].add(timing["total_seconds"])
        if (figures := server_figures(record["x_metrics"])) is not None:
            for name, value in (("ttft", figures.ttft), ("total", figures.total), ("rate", figures.rate)):
                self._server[name].add(value)

    def speed(self) -> float:
        """Images a second, lately."""
        then, count = self._history[0]
        return (self.finished - count) / max(self._clock() - then, 1e-3)

    def latency(self) -> float | None:
        """Seconds that one of two requests takes at most, lately."""
        return statistics.median(self.recent) if self.recent else None

    def headline(self) -> str:
        """How far it is, how fast it goes, and when it will be over."""
        speed = self.speed()
        if self.total is None:
            return f"{self.finished:,} · {_rate(speed)}/s"
        left = max(0, self.total - self.finished)
        eta = f" · {duration(left / speed)} left" if speed > 0 and left else ""
        return f"{self.finished:,} of {self.total:,} · {_rate(speed)}/s{eta}"

    def details(self) -> str:
        """All else that one may want to know meanwhile."""
        parts = [f"{count:,} {name}" for name, count in (("failed", self.failed), ("skipped", self.skipped)) if count]
        spent = self._spent
        parts += [f"{spent.tokens:,.0f} tokens"] if spent.tokens else []
        parts += [str(Cost(spent.cost))] if spent.cost is not None else []
        parts.append(f"{self.in_flight} in flight")
        parts += [f"p50 {latency:.2f} s"] if (latency := self.latency()) is not None else []
        return " · ".join(parts)

    def summary(self, *, jobs: str) -> Iterator[str]:
        """The lines that end a run.

        Args:
            jobs: how many requests at once there were, in words.
        """
        described = self.done - self.copied
        counts = [f"{described:,} described"]
        counts += [f"{self.copied:,} the same as others"] if self.copied else []
        counts += [f"{self.skipped:,} skipped"] if self.skipped else []
        counts += [f"{self.failed:,} failed"] if self.failed else []
        speed = self.finished / max(self.seconds, 1e-3)
        parts = [", ".join(counts), duration(self.seconds), f"{_rate(speed)} images/s"]
        yield " · ".join([*parts, jobs] if self.done - self.copied + self.failed else parts)
        taken = self._taken()
        if taken:
            yield " · ".join(taken)
        if times := self._times():
            yield " · ".join(times)
        if self.kinds:
            kinds = (f"{count:,} × {printable(kind)}" for kind, count in self.kinds.most_common(10))
            yield f"failed: {', '.join(kinds)}"

    def _taken(self) -> list[str]:
        spent, about = self._spent, "about " if self._spent.is_estimate else ""
        taken = [f"{about}{spent.asked:,.0f} → {spent.written:,.0f} tokens"] if spent.tokens else []
        taken += [f"{about}{Cost(spent.cost)}"] if spent.cost is not None else []
        if taken and spent.is_estimate:
            taken[-1] += " (an estimate: the server does not count)"
        return [*taken, f"{readable_size(self.before)} → {readable_size(self.after)}"] if self.before else taken

    def _times(self) -> list[str]:
        found = self._server if any(self._server.values()) else self._ours
        told = [
            f"{name} {found[name].percentile(50):.2f} s (95 %: {found[name].percentile(95):.2f} s)"
            for name in ("ttft", "total")
            if found[name]
        ]
        told += [f"{found['rate'].percentile(50):.1f} tok/s"] if found["rate"] else []
        return [*told[:-1], told[-1] + " (measured here)"] if told and found is self._ours else told


def _kind(error: dict[str, Any]) -> str:
    return f"{error['code']} (HTTP {error['status']})" if error["status"] else str(error["code"])


def duration(seconds: float) -> str:
    """A time as people say it: ``4.2 s``, ``12 min 5 s``, ``3 h 7 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
