"""What a run has come to: counted while it goes on, and told at its end."""

import statistics
import time
from array import array
from collections import Counter, deque
from collections.abc import Iterator
from math import ceil
from typing import Any

from ..metrics import Clock, Cost, parse_server_figures
from ..text import escape_control_characters, format_size
from .budget import TotalUsage
from .entries import Record
from .tasks import Done, Failed, Outcome, Skipped

#: Answers whose middle is shown while the run goes on.
_RECENT_ANSWERS = 100
#: Seconds over which the speed is taken that the time left is told by.
_SPEED_WINDOW_SECONDS = 60.0


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


class BatchStats:
    """Counts outcomes.

    Attributes:
        total: images in all, as far as that is known.
        in_flight: requests on their way.

    Args:
        spent: what all answers took, which is counted elsewhere: some come to nothing.
    """

    def __init__(self, usage: TotalUsage, *, clock: Clock = time.monotonic) -> None:
        self._usage = usage
        self.total: int | None = None
        self.in_flight = 0
        self.done = self.duplicates = self.failed = self.skipped = 0
        self.original_bytes = self.sent_bytes = 0
        self.error_counts: Counter[str] = Counter()
        self.recent_seconds: deque[float] = deque(maxlen=_RECENT_ANSWERS)
        self._server_series = {name: Series() for name in ("ttft", "total", "rate")}
        self._client_series = {name: Series() for name in ("ttft", "total", "rate")}
        self._clock = clock
        self._started_at = clock()
        self._history: deque[tuple[float, int]] = deque([(self._started_at, 0)])

    @property
    def finished(self) -> int:
        """Images that are through."""
        return self.done + self.failed + self.skipped

    @property
    def elapsed_seconds(self) -> float:
        """How long it has been going on."""
        return self._clock() - self._started_at

    def add_outcome(self, outcome: Outcome) -> None:
        """Count an image."""
        match outcome:
            case Skipped():
                self.skipped += 1
            case Done():
                self.done += 1
                self.duplicates += outcome.is_duplicate
            case Failed():
                self.failed += 1
                self.error_counts[_format_error(outcome.record["error"])] += 1
        if not isinstance(outcome, Skipped) and not outcome.is_duplicate:
            self._add_measurements(outcome.record)
        now = self._clock()
        if now - self._history[-1][0] >= 1:
            self._history.append((now, self.finished))
            while self._history[1][0] < now - _SPEED_WINDOW_SECONDS:
                self._history.popleft()

    def _add_measurements(self, record: Record) -> None:
        for image in record["images"]:
            if image["sent"] is not None:
                self.original_bytes += image["bytes"]
                self.sent_bytes += image["sent"]["bytes"]
        if record["error"] is not None:
            return
        timing = record["timing"]
        if timing["total_seconds"] is not None:
            self.recent_seconds.append(timing["total_seconds"])
            self._client_series["total"].add(timing["total_seconds"])
        if (figures := parse_server_figures(record["x_metrics"])) is not None:
            for name, value in (("ttft", figures.ttft), ("total", figures.total), ("rate", figures.rate)):
                self._server_series[name].add(value)

    def compute_speed(self) -> float:
        """Images a second, lately."""
        then, count = self._history[0]
        return (self.finished - count) / max(self._clock() - then, 1e-3)

    def compute_latency(self) -> float | None:
        """Seconds that one of two requests takes at most, lately."""
        return statistics.median(self.recent_seconds) if self.recent_seconds else None

    def format_headline(self) -> str:
        """How far it is, how fast it goes, and when it will be over."""
        speed = self.compute_speed()
        if self.total is None:
            return f"{self.finished:,} · {_format_rate(speed)}/s"
        left = max(0, self.total - self.finished)
        eta = f" · {format_duration(left / speed)} left" if speed > 0 and left else ""
        return f"{self.finished:,} of {self.total:,} · {_format_rate(speed)}/s{eta}"

    def format_details(self) -> str:
        """All else that one may want to know meanwhile."""
        parts = [f"{count:,} {name}" for name, count in (("failed", self.failed), ("skipped", self.skipped)) if count]
        spent = self._usage
        parts += [f"{spent.total_tokens:,.0f} tokens"] if spent.total_tokens else []
        parts += [str(Cost(spent.cost))] if spent.cost is not None else []
        parts.append(f"{self.in_flight} in flight")
        parts += [f"p50 {latency:.2f} s"] if (latency := self.compute_latency()) is not None else []
        return " · ".join(parts)

    def format_summary(self, *, jobs: str) -> Iterator[str]:
        """The lines that end a run.

        Args:
            jobs: how many requests at once there were, in words.
        """
        described = self.done - self.duplicates
        counts = [f"{described:,} described"]
        counts += [f"{self.duplicates:,} the same as others"] if self.duplicates else []
        counts += [f"{self.skipped:,} skipped"] if self.skipped else []
        counts += [f"{self.failed:,} failed"] if self.failed else []
        speed = self.finished / max(self.elapsed_seconds, 1e-3)
        parts = [", ".join(counts), format_duration(self.elapsed_seconds), f"{_format_rate(speed)} images/s"]
        yield " · ".join([*parts, jobs] if self.done - self.duplicates + self.failed else parts)
        taken = self._format_usage()
        if taken:
            yield " · ".join(taken)
        if times := self._format_latencies():
            yield " · ".join(times)
        if self.error_counts:
            kinds = (
                f"{count:,} × {escape_control_characters(kind)}" for kind, count in self.error_counts.most_common(10)
            )
            yield f"failed: {', '.join(kinds)}"

    def _format_usage(self) -> list[str]:
        spent, about = self._usage, "about " if self._usage.is_estimated else ""
        taken = [f"{about}{spent.input_tokens:,.0f} → {spent.output_tokens:,.0f} tokens"] if spent.total_tokens else []
        taken += [f"{about}{Cost(spent.cost)}"] if spent.cost is not None else []
        if taken and spent.is_estimated:
            taken[-1] += " (an estimate: the server does not count)"
        return (
            [*taken, f"{format_size(self.original_bytes)} → {format_size(self.sent_bytes)}"]
            if self.original_bytes
            else taken
        )

    def _format_latencies(self) -> list[str]:
        found = self._server_series if any(self._server_series.values()) else self._client_series
        told = [
            f"{name} {found[name].percentile(50):.2f} s (95 %: {found[name].percentile(95):.2f} s)"
            for name in ("ttft", "total")
            if found[name]
        ]
        told += [f"{found['rate'].percentile(50):.1f} tok/s"] if found["rate"] else []
        return [*told[:-1], told[-1] + " (measured here)"] if told and found is self._client_series else told


def _format_error(error: dict[str, Any]) -> str:
    return f"{error['code']} (HTTP {error['status']})" if error["status"] else str(error["code"])


def format_duration(seconds: float) -> str:
    """A time as people say it: ``4.2 s``, ``12 min 5 s``, ``3 h 7 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _format_rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
