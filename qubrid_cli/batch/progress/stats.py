"""The statistics of a run, shown as progress during the run and as a summary at its end.

Several runs on one results file count together: an image of this run that another one answers is finished.
"""

import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from math import ceil, inf

from ...errors import BatchIncompleteError
from ...frozen import frozen
from ...metrics import Clock, Cost, parse_server_figures
from ...text import format_count, format_size
from ..budget import TotalUsage
from ..entries import Record
from ..tasks import Done, Failed, Outcome, SidecarFailed, Skipped
from .failures import FailureCount, FailureSummary

#: Answers over which the progress shows the median time.
_RECENT_ANSWERS = 100
#: Seconds over which the speed is measured, from which the time left is estimated.
_SPEED_WINDOW_SECONDS = 60.0
#: Seconds without an outcome after which the progress says so.
_QUIET_SECONDS = 10.0
#: Seconds between checks whether other runs have answered the images that they have claimed.
_CLAIMS_INTERVAL = 1.0
#: Seconds before the images are counted if all so far are already done.
_COUNT_DELAY = 10.0


@frozen
class Trouble:
    """Why a run sends nothing at the moment; times are those of its clock.

    Attributes:
        reason: the last error of the endpoint, in a few words; ``None`` if it has none.
        since: when the errors began.
        next_at: when the next request will be sent; infinity if that depends on something else.
    """

    reason: str | None = None
    since: float = 0.0
    next_at: float = inf


class BatchStats:
    """Counts the outcomes of a run, and formats the counts.

    Args:
        usage: the tokens and cost of all requests; counted elsewhere, because some requests have no outcome of their own.

    Attributes:
        total: images in the whole run; ``None`` until they are counted.
        in_flight: requests without a response.
        part_count: running parts, if the run is divided into parts; then other processes make the requests.
        trouble: why nothing is sent.
        original_bytes: of the images before they were prepared; ``sent_bytes`` after.
        given_up: failed images that were not requested, because earlier answers about them were incomplete too often.
    """

    def __init__(self, usage: TotalUsage, *, clock: Clock = time.monotonic) -> None:
        self._usage = usage
        self.total: int | None = None
        self.in_flight = 0
        self.part_count: int | None = None
        self.trouble = Trouble()
        self.done = self.duplicates = self.failed = self.skipped = 0
        self.original_bytes = self.sent_bytes = self.given_up = 0
        self._documents: set[str] = set()
        self._failures = FailureSummary()
        self._total_seconds = array("d")
        self._server_figures = {name: array("d") for name in ("ttft", "total", "rate")}
        self._clock = clock
        self._started_at = clock()
        self._history: deque[tuple[float, int]] = deque([(self._started_at, 0)])
        self._last_outcome_at = self._next_check_at = self._started_at
        self._claimed_keys: dict[int, str] = {}  # by the position of the image
        self._answered_elsewhere: set[int] = set()  # and not yet skipped here
        self._answered_elsewhere_count = 0

    @property
    def finished(self) -> int:
        """Images with an outcome."""
        return self.done + self.failed + self.skipped

    @property
    def shown_finished(self) -> int:
        """Images with an outcome here, or with an answer of another run that works on them at the same time."""
        return self.finished + len(self._answered_elsewhere)

    @property
    def _request_count(self) -> int:
        """Images for which requests were needed, here or in another run at the same time."""
        return self.done - self.duplicates + self.failed + self._answered_elsewhere_count

    def count_total(self, images: Iterator[object], has_work: threading.Event) -> None:
        """Count all images of the run in a thread of its own, while the first ones are processed.

        Args:
            has_work: set once an image is not already done. Counting waits for that, because without such an image the run
                may be over in a moment.
        """

        def count() -> None:
            has_work.wait(_COUNT_DELAY)
            self.total = sum(1 for _ in images)

        threading.Thread(target=count, name="count", daemon=True).start()

    def begin_requests(self) -> None:
        """Measure the speed from now on, if nothing was requested before, for example because there were no workers."""
        self._record_progress()

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
        self._claimed_keys.pop(outcome.task.index, None)
        self._answered_elsewhere.discard(outcome.task.index)
        self._record_progress()

    def add_already_done(self, count: int) -> None:
        """Count images whose answers were found without reading them."""
        self.skipped += count
        self._record_progress()

    def list_failures(self) -> list[FailureCount]:
        """List the failures by kind, as plain data."""
        return self._failures.list_counts()

    def add_counts(self, done: int, duplicates: int, failed: int, failures: Iterable[FailureCount]) -> None:
        """Add what another process has counted."""
        self.done += done
        self.duplicates += duplicates
        self.failed += failed
        for failure in failures:
            self._failures.add_count(failure)
        self._record_progress()

    def add_claimed(self, index: int, key: str) -> None:
        """Note that another run has claimed the image at this position."""
        self._claimed_keys[index] = key

    def check_claimed(self, is_answered: Callable[[str], bool]) -> None:
        """Count the claimed images that other runs have answered meanwhile, once a second.

        Args:
            is_answered: whether the answer with a key is in the results file.
        """
        if not self._claimed_keys or self._clock() < self._next_check_at:
            return
        self._next_check_at = self._clock() + _CLAIMS_INTERVAL
        answered = [index for index, key in self._claimed_keys.items() if is_answered(key)]
        for index in answered:
            del self._claimed_keys[index]
        self._answered_elsewhere.update(answered)
        self._answered_elsewhere_count += len(answered)
        if answered:
            self._record_progress()

    def _record_progress(self) -> None:
        now = self._last_outcome_at = self._clock()
        if self._request_count == 0:  # skipping images says nothing about the speed of requests
            self._history[0] = now, 0
        elif now - self._history[-1][0] >= 1:
            self._history.append((now, self._request_count))
            while self._history[1][0] < now - _SPEED_WINDOW_SECONDS:
                self._history.popleft()

    def _add_measurements(self, record: Record) -> None:
        for image in record["images"]:
            if image["sent"] is not None:
                if image.get("page") is None or image["sha256"] not in self._documents:
                    self.original_bytes += image["bytes"]
                if image.get("page") is not None:
                    self._documents.add(image["sha256"])
                self.sent_bytes += image["sent"]["bytes"]
        if record["error"] is not None:
            return
        if (seconds := record["timing"]["total_seconds"]) is not None:
            self._total_seconds.append(seconds)
        if (figures := parse_server_figures(record["x_metrics"])) is not None:
            for name, values in self._server_figures.items():
                if (value := getattr(figures, name)) is not None:
                    values.append(value)

    def format_headline(self, width: int | None = None) -> str:
        """Format the progress: images finished, requests per second in the last minute, and the time left.

        Args:
            width: characters that it may take; what does not fit is left out, the last part first.
        """
        since, count = self._history[0]
        speed = (self._request_count - count) / max(self._clock() - since, 1e-3)
        finished = self.shown_finished
        parts = [f"{finished:,}" if self.total is None else f"{finished:,} of {self.total:,}"]
        parts += [f"{_format_rate(speed)}/s"] if speed > 0 else []
        left = 0 if self.total is None else max(0, self.total - finished)
        parts += [f"{format_duration(left / speed)} left"] if speed > 0 and left else []
        return _join_fitting(parts, width)

    def format_details(self, width: int | None = None) -> str:
        """Format the details of the progress: failures, tokens, cost, requests in flight and the median time.

        Args:
            width: characters that they may take; what does not fit is left out, the least important part first.
        """
        usage, recent_seconds = self._usage, self._total_seconds[-_RECENT_ANSWERS:]
        parts = {
            "failed": f"{self.failed:,} failed" if self.failed else "",
            "skipped": f"{self.skipped:,} skipped" if self.skipped else "",
            "tokens": f"{usage.total_tokens:,.0f} tokens" if usage.total_tokens else "",
            "cost": str(Cost(usage.cost)) if usage.cost is not None else "",
            "in_flight": f"{self.in_flight} in flight"
            if self.part_count is None
            else f"{format_count(self.part_count, 'part')} running",
            "median": f"p50 {_percentile(recent_seconds, 50):.2f} s" if recent_seconds else "",
        }
        for name in ("median", "tokens", "skipped", "cost", "failed"):
            text = " · ".join(filter(None, parts.values()))
            if width is None or len(text) <= width:
                return text
            parts[name] = ""
        return parts["in_flight"]

    def format_trouble(self) -> str:
        """Format why there is no progress: ``HTTP 503 for 1 min 40 s, next try in 12 s``; empty if there is progress."""
        now, trouble = self._clock(), self.trouble
        wait = trouble.next_at - now
        if trouble.reason is not None:
            next_try = f", next try in {_format_seconds(wait)}" if 0.5 <= wait < inf else ""
            return f"{trouble.reason} for {_format_seconds(now - trouble.since)}{next_try}"
        seconds = now - max(self._last_outcome_at, self._started_at)
        if seconds < _QUIET_SECONDS:
            return ""
        if self.in_flight:
            return f"no answer for {_format_seconds(seconds)}"
        if 1 <= wait < inf:
            return f"next request in {_format_seconds(wait)}"
        if self._claimed_keys:
            images = format_count(len(self._claimed_keys), "image")
            return f"waiting for other runs, which work on {images}"
        return ""

    def format_summary(self, *, jobs: str, verb: str = "described") -> Iterator[str]:
        """Format the lines that are shown at the end of the run.

        Args:
            jobs: how many requests there were at once, in words; empty if that is unknown.
            verb: what was done with the images.
        """
        described = self.done - self.duplicates
        counts = [f"{described:,} {verb}"]
        counts += [format_count(self.duplicates, "duplicate")] if self.duplicates else []
        counts += [f"{count:,} {name}" for name, count in (("skipped", self.skipped), ("failed", self.failed)) if count]
        seconds = self._clock() - self._started_at
        parts = [", ".join(counts), format_duration(seconds)]
        if requested := described + self.failed:
            parts += [f"{_format_rate(requested / max(seconds, 1e-3))} images/s", *([jobs] if jobs else [])]
        yield " · ".join(parts)
        for parts in (self._format_usage(), self._format_latencies()):
            if parts:
                yield " · ".join(parts)
        yield from self._failures.format_lines()
        if self.given_up:
            images = format_count(self.given_up, "image was", "images were")
            reason = "the answer was cut off or did not fit the schema as often as --retries allows"
            yield f"{images} not requested again, because {reason}; to request them again, add --retry-incomplete"

    def raise_if_failed(self, *, is_resumable: bool = True) -> None:
        """Raise an error that says how many images failed, if any did.

        Args:
            is_resumable: the same command requests them again.
        """
        if not self.failed:
            return
        hint = "To retry them, run the same command again."
        if not is_resumable:
            hint = "--failures lists them for --from."
        elif self.failed == self.given_up:
            hint = "To retry them, run the same command with --retry-incomplete."
        raise BatchIncompleteError(f"{self.failed:,} of {self.finished:,} images failed", hint=hint)

    def _format_usage(self) -> list[str]:
        usage, about = self._usage, "about " if self._usage.is_estimated else ""
        parts = [f"{about}{usage.input_tokens:,.0f} → {usage.output_tokens:,.0f} tokens"] if usage.total_tokens else []
        parts += [f"{about}{Cost(usage.cost)}"] if usage.cost is not None else []
        if parts and usage.is_estimated:
            parts[-1] += " (estimated: the server does not report usage)"
        if self.original_bytes:
            parts.append(f"{format_size(self.original_bytes)} → {format_size(self.sent_bytes)}")
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


def format_duration(seconds: float) -> str:
    """Format a duration: ``4.2 s``, ``12 min 5 s``, ``3 h 7 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, whole_seconds = divmod(round(seconds), 60)
    return f"{minutes} min {whole_seconds} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _format_seconds(seconds: float) -> str:
    """Format a duration in whole seconds, because fractions would flicker."""
    return f"{round(seconds)} s" if seconds < 59.5 else format_duration(seconds)


def _join_fitting(parts: Sequence[str], width: int | None) -> str:
    """Join as many of the first parts as fit."""
    text = parts[0]
    for part in parts[1:]:
        if width is not None and len(f"{text} · {part}") > width:
            break
        text += f" · {part}"
    return text


def _format_rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
