"""The statistics of a run: counted as it goes on, and formatted for its progress and its summary."""

import time
from array import array
from collections import Counter, deque
from collections.abc import Collection, Iterator
from math import ceil
from typing import Any

from ..metrics import Clock, Cost, parse_server_figures
from ..text import escape_control_characters, format_size
from .budget import TotalUsage
from .entries import Record
from .tasks import Done, Failed, Outcome, Skipped

#: Answers over which the progress shows the median time.
_RECENT_ANSWERS = 100
#: Seconds over which the speed is measured that predicts the time left.
_SPEED_WINDOW_SECONDS = 60.0


class BatchStats:
    """Counts outcomes.

    Args:
        usage: the tokens and cost of all requests; counted elsewhere, because some requests have no outcome of their own.

    Attributes:
        total: images in the whole run; ``None`` while it is not known.
        in_flight: requests that were sent and not answered yet.
    """

    def __init__(self, usage: TotalUsage, *, clock: Clock = time.monotonic) -> None:
        self._usage = usage
        self.total: int | None = None
        self.in_flight = 0
        self.done = self.duplicates = self.failed = self.skipped = 0
        self._original_bytes = self._sent_bytes = 0
        self._error_counts: Counter[str] = Counter()
        self._recent_seconds: deque[float] = deque(maxlen=_RECENT_ANSWERS)
        self._total_seconds = array("d")
        self._server_figures = {name: array("d") for name in ("ttft", "total", "rate")}
        self._clock = clock
        self._started_at = clock()
        self._history: deque[tuple[float, int]] = deque([(self._started_at, 0)])

    @property
    def finished(self) -> int:
        """Images with an outcome."""
        return self.done + self.failed + self.skipped

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
                self._error_counts[_format_error(outcome.record["error"])] += 1
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
                self._original_bytes += image["bytes"]
                self._sent_bytes += image["sent"]["bytes"]
        if record["error"] is not None:
            return
        if (seconds := record["timing"]["total_seconds"]) is not None:
            self._recent_seconds.append(seconds)
            self._total_seconds.append(seconds)
        if (figures := parse_server_figures(record["x_metrics"])) is not None:
            for name, value in (("ttft", figures.ttft), ("total", figures.total), ("rate", figures.rate)):
                if value is not None:
                    self._server_figures[name].append(value)

    def format_headline(self) -> str:
        """Format the progress: images finished, the speed of the last minute, and the time left."""
        since, count = self._history[0]
        speed = (self.finished - count) / max(self._clock() - since, 1e-3)
        if self.total is None:
            return f"{self.finished:,} · {_format_rate(speed)}/s"
        left = max(0, self.total - self.finished)
        eta = f" · {format_duration(left / speed)} left" if speed > 0 and left else ""
        return f"{self.finished:,} of {self.total:,} · {_format_rate(speed)}/s{eta}"

    def format_details(self) -> str:
        """Format the details of the progress: failures, tokens, cost, requests in flight and the median time."""
        parts = [f"{count:,} {name}" for name, count in (("failed", self.failed), ("skipped", self.skipped)) if count]
        usage = self._usage
        parts += [f"{usage.total_tokens:,.0f} tokens"] if usage.total_tokens else []
        parts += [str(Cost(usage.cost))] if usage.cost is not None else []
        parts.append(f"{self.in_flight} in flight")
        parts += [f"p50 {_percentile(self._recent_seconds, 50):.2f} s"] if self._recent_seconds else []
        return " · ".join(parts)

    def format_summary(self, *, jobs: str) -> Iterator[str]:
        """Format the lines that are shown at the end of the run.

        Args:
            jobs: the number of simultaneous requests, in words.
        """
        described = self.done - self.duplicates
        others = {"duplicate": self.duplicates, "skipped": self.skipped, "failed": self.failed}
        counts = [f"{described:,} described", *(f"{count:,} {name}" for name, count in others.items() if count)]
        seconds = self._clock() - self._started_at
        speed = f"{_format_rate(self.finished / max(seconds, 1e-3))} images/s"
        parts = [", ".join(counts), format_duration(seconds), speed]
        yield " · ".join([*parts, jobs] if described + self.failed else parts)
        for parts in (self._format_usage(), self._format_latencies()):
            if parts:
                yield " · ".join(parts)
        if self._error_counts:
            errors = self._error_counts.most_common(10)
            yield f"failed: {', '.join(f'{count:,} × {escape_control_characters(name)}' for name, count in errors)}"

    def _format_usage(self) -> list[str]:
        usage, about = self._usage, "about " if self._usage.is_estimated else ""
        parts = [f"{about}{usage.input_tokens:,.0f} → {usage.output_tokens:,.0f} tokens"] if usage.total_tokens else []
        parts += [f"{about}{Cost(usage.cost)}"] if usage.cost is not None else []
        if parts and usage.is_estimated:
            parts[-1] += " (estimated: the server does not report usage)"
        if self._original_bytes:
            parts.append(f"{format_size(self._original_bytes)} → {format_size(self._sent_bytes)}")
        return parts

    def _format_latencies(self) -> list[str]:
        if not any(self._server_figures.values()):
            seconds = self._total_seconds
            return [f"{_format_percentiles('total', seconds)} (measured here)"] if seconds else []
        figures = self._server_figures
        parts = [_format_percentiles(name, figures[name]) for name in ("ttft", "total") if figures[name]]
        parts += [f"{_percentile(figures['rate'], 50):.1f} tok/s"] if figures["rate"] else []
        return parts


def _percentile(values: Collection[float], percent: int) -> float:
    """Return the nearest-rank percentile of one or more values."""
    return sorted(values)[max(0, ceil(len(values) * percent / 100) - 1)]


def _format_percentiles(name: str, seconds: Collection[float]) -> str:
    return f"{name} {_percentile(seconds, 50):.2f} s (p95 {_percentile(seconds, 95):.2f} s)"


def _format_error(error: dict[str, Any]) -> str:
    return f"{error['code']} (HTTP {error['status']})" if error["status"] else str(error["code"])


def format_duration(seconds: float) -> str:
    """Format a duration: ``4.2 s``, ``12 min 5 s``, ``3 h 7 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _format_rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
