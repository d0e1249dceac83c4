"""What a run has done so far: as progress during the run, as a summary at its end."""

import threading
import time
from array import array
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import ceil

from ...metrics import Clock, Cost, parse_server_figures
from ...text import escape_control_characters, format_size
from ..budget import TotalUsage
from ..entries import Record
from ..tasks import Done, Failed, Outcome, SidecarFailed, Skipped

#: Answers over which the progress shows the median time.
_RECENT_ANSWERS = 100
#: Seconds over which the speed is measured that predicts the time left.
_SPEED_WINDOW_SECONDS = 60.0
#: Kinds of failures that the summary lists.
_MAX_FAILURE_LINES = 10
#: Kinds of failures that are told apart; a server may send an error code of its own for each image.
_MAX_FAILURE_KINDS = 100
#: Characters of an image's name, and of a message, in the summary.
_MAX_NAME_LENGTH, _MAX_MESSAGE_LENGTH = 60, 200


@dataclass(slots=True)
class _FailureKind:
    """Failures with the same code and status: how many, the first image, and its message."""

    name: str
    first_image: str
    first_message: str
    count: int = 1

    def format_line(self) -> str:
        image = _shorten(escape_control_characters(self.first_image), _MAX_NAME_LENGTH, from_start=True)
        message = _shorten(escape_control_characters(self.first_message), _MAX_MESSAGE_LENGTH)
        name = _shorten(escape_control_characters(self.name), _MAX_NAME_LENGTH)
        return f"failed: {self.count:,} × {name}, first {image}: {message}"


class _FailureSummary:
    """The kinds of failures of a run."""

    def __init__(self) -> None:
        self._kinds: dict[str, _FailureKind] = {}
        self._other_count = 0

    def add(self, record: Record) -> None:
        """Count a failed image."""
        error = record["error"]
        name = f"{error['code']} (HTTP {error['status']})" if error["status"] else str(error["code"])
        if (kind := self._kinds.get(name)) is not None:
            kind.count += 1
        elif len(self._kinds) < _MAX_FAILURE_KINDS:
            self._kinds[name] = _FailureKind(name, record["images"][0]["source"], error["message"])
        else:
            self._other_count += 1

    def format_lines(self) -> Iterator[str]:
        """Format a line for each of the most frequent kinds, and one for all others."""
        kinds = sorted(self._kinds.values(), key=lambda kind: -kind.count)
        for kind in kinds[:_MAX_FAILURE_LINES]:
            yield kind.format_line()
        if count := self._other_count + sum(kind.count for kind in kinds[_MAX_FAILURE_LINES:]):
            yield f"failed: {count:,} × other errors"


class BatchStats:
    """Counts the outcomes of a run, and formats the counts.

    Args:
        usage: the tokens and cost of all requests; counted elsewhere, because some requests have no outcome of their own.

    Attributes:
        total: images in the whole run; ``None`` until they are counted.
        in_flight: requests without a response.
    """

    def __init__(self, usage: TotalUsage, *, clock: Clock = time.monotonic) -> None:
        self._usage = usage
        self.total: int | None = None
        self.in_flight = 0
        self.done = self.duplicates = self.failed = self.skipped = 0
        self._original_bytes = self._sent_bytes = 0
        self._documents: set[str] = set()
        self._failures = _FailureSummary()
        self._total_seconds = array("d")
        self._server_figures = {name: array("d") for name in ("ttft", "total", "rate")}
        self._clock = clock
        self._started_at = clock()
        self._history: deque[tuple[float, int]] = deque([(self._started_at, 0)])

    @property
    def finished(self) -> int:
        """Images with an outcome."""
        return self.done + self.failed + self.skipped

    def count_total(self, images: Iterator[object]) -> None:
        """Count all images of the run in a thread of its own, while the first ones are processed."""

        def count() -> None:
            self.total = sum(1 for _ in images)

        threading.Thread(target=count, name="count", daemon=True).start()

    def add_outcome(self, outcome: Outcome) -> None:
        """Count an image."""
        match outcome:
            case Skipped():
                self.skipped += 1
            case Done():
                self.done += 1
                self.duplicates += outcome.is_duplicate
            case Failed() | SidecarFailed():
                self.failed += 1
                self._failures.add(outcome.record)
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
                if image.get("page") is None or image["sha256"] not in self._documents:
                    self._original_bytes += image["bytes"]
                if image.get("page") is not None:
                    self._documents.add(image["sha256"])
                self._sent_bytes += image["sent"]["bytes"]
        if record["error"] is not None:
            return
        if (seconds := record["timing"]["total_seconds"]) is not None:
            self._total_seconds.append(seconds)
        if (figures := parse_server_figures(record["x_metrics"])) is not None:
            for name, values in self._server_figures.items():
                if (value := getattr(figures, name)) is not None:
                    values.append(value)

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
        recent_seconds = self._total_seconds[-_RECENT_ANSWERS:]
        parts += [f"p50 {_percentile(recent_seconds, 50):.2f} s"] if recent_seconds else []
        return " · ".join(parts)

    def format_summary(self, *, jobs: str) -> Iterator[str]:
        """Format the lines that are shown at the end of the run.

        Args:
            jobs: how many requests there were at once, in words.
        """
        described = self.done - self.duplicates
        counts = [f"{described:,} described"]
        counts += [format_duplicates(self.duplicates)] if self.duplicates else []
        counts += [f"{count:,} {name}" for name, count in (("skipped", self.skipped), ("failed", self.failed)) if count]
        seconds = self._clock() - self._started_at
        speed = f"{_format_rate(self.finished / max(seconds, 1e-3))} images/s"
        parts = [", ".join(counts), format_duration(seconds), speed]
        yield " · ".join([*parts, jobs] if described + self.failed else parts)
        for parts in (self._format_usage(), self._format_latencies()):
            if parts:
                yield " · ".join(parts)
        yield from self._failures.format_lines()

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
        figures = self._server_figures
        if not any(figures.values()):
            seconds = self._total_seconds
            return [f"{_format_percentiles('total', seconds)} (measured here)"] if seconds else []
        parts = [_format_percentiles(name, figures[name]) for name in ("ttft", "total") if figures[name]]
        parts += [f"{_percentile(figures['rate'], 50):.1f} tok/s"] if figures["rate"] else []
        return parts


def _percentile(values: Collection[float], percent: int) -> float:
    """Return the nearest-rank percentile of one or more values."""
    return sorted(values)[max(0, ceil(len(values) * percent / 100) - 1)]


def _format_percentiles(name: str, seconds: Collection[float]) -> str:
    return f"{name} {_percentile(seconds, 50):.2f} s (p95 {_percentile(seconds, 95):.2f} s)"


def _shorten(text: str, length: int, *, from_start: bool = False) -> str:
    """Cut a text that is too long: at its end, or at its start, as for a path, whose end says more."""
    if len(text) <= length:
        return text
    return f"…{text[1 - length :]}" if from_start else f"{text[: length - 1]}…"


def format_duplicates(count: int) -> str:
    """Format a number of duplicates."""
    return "1 duplicate" if count == 1 else f"{count:,} duplicates"


def format_duration(seconds: float) -> str:
    """Format a duration: ``4.2 s``, ``12 min 5 s``, ``3 h 7 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _format_rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
