"""The forecast of a dry run, estimated from a few images that are prepared. Estimates are shown as ranges."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from math import floor, log10, sqrt
from statistics import fmean

from ..errors import ImageError
from ..frozen import frozen
from ..images.prepare import PreparedImage
from ..metrics import Price
from ..text import format_count, format_size
from . import tasks
from .inputs import Task
from .tasks import BatchPlan

#: Images to prepare: at most, and at least, however long that takes.
_SAMPLE_SIZE, _LEAST_SAMPLE_SIZE = 20, 3
#: Seconds after which no further image is prepared.
_PREPARE_SECONDS = 0.8
#: Digits of an estimated number.
_SIGNIFICANT_DIGITS = 3


@frozen
class SizedTask:
    """An image to request, and the bytes of its file; ``None`` for a link and for standard input."""

    task: Task
    size: int | None


@frozen
class Census:
    """How many images a run has, by what it would do with them.

    Attributes:
        page_count: images that are pages, of ``document_count`` documents.
        images: a random sample of those to request.
        file_bytes: the bytes of all files to request.
        unsized_count: images to request whose size is unknown.
        is_estimated: the counts are estimated from a random sample.
    """

    request_count: int
    duplicate_count: int
    done_count: int
    unreadable_count: int
    page_count: int
    document_count: int
    images: Sequence[SizedTask]
    file_bytes: int
    unsized_count: int
    is_estimated: bool = False

    @property
    def image_count(self) -> int:
        """All images."""
        return self.request_count + self.duplicate_count + self.done_count + self.unreadable_count


@frozen
class TotalEstimate:
    """An estimate, and its 95 % confidence interval."""

    low: float
    mean: float
    high: float

    def scale(self, factor: float) -> "TotalEstimate":
        """Multiply all three numbers."""
        return TotalEstimate(self.low * factor, self.mean * factor, self.high * factor)


@frozen
class Forecast:
    """What a run would do.

    Attributes:
        sample_size: images that were prepared; ``rejected_count`` of them cannot be sent.
        tokens: the input tokens of all requests; ``None`` if it is unknown how the model counts images.
        original_bytes: the bytes of all images to request.
        sent_bytes: the bytes of these images as they are sent.
    """

    census: Census
    sample_size: int
    rejected_count: int
    tokens: TotalEstimate | None
    original_bytes: float
    sent_bytes: TotalEstimate

    def format_lines(self, price: Price | None, max_tokens: int | None, *, verb: str = "describe") -> Iterator[str]:
        """Yield the forecast as text.

        Args:
            max_tokens: of an answer; ``None`` for no limit, or if answers are much shorter.
            verb: what is done with the images.
        """
        census, requests = self.census, self.census.request_count
        count = _format_estimate if census.is_estimated else "{:,}".format
        about = "about " if census.is_estimated else ""
        counts = [f"{about}{count(census.image_count)} images: {about}{count(requests)} to {verb}"]
        if census.duplicate_count:
            duplicates = format_count(census.duplicate_count, "duplicate")
            counts.append(f"{count(census.duplicate_count)} duplicates" if census.is_estimated else duplicates)
        yield ", ".join(
            [*counts, f"{count(census.done_count)} already done", f"{count(census.unreadable_count)} unreadable"]
        )
        if census.page_count:
            documents = "1 document" if census.document_count == 1 else f"{count(census.document_count)} documents"
            yield f"{count(census.page_count)} of them are pages of {documents}"
        if self.rejected_count:
            yield f"{self.rejected_count} of a sample of {self.sample_size} cannot be sent"
        if self.sample_size == self.rejected_count:
            return
        answers = "plus the answers" + ("" if max_tokens is None else f" of up to {max_tokens:,} tokens each")
        if self.tokens is None:
            yield f"unknown number of input tokens, because it is unknown how the model counts images; {answers}"
        else:
            each = f"{self.tokens.mean / max(1, requests):,.0f} per image"
            yield f"about {_format_range(self.tokens, is_rounded=census.is_estimated)} input tokens, {each}; {answers}"
        yield f"about {format_size(round(self.original_bytes))} of images, {_format_sizes(self.sent_bytes)} to send"
        if self.tokens is not None and price is not None and price.input is not None and price.output is not None:
            cost = self.tokens.scale(price.input / 1e6)
            low, high = f"${cost.low:,.2f}", f"${cost.high:,.2f}"
            output_cost = 100 * requests * price.output / 1e6
            costs = f"${cost.mean:,.2f}" if low == high else f"{low} to {high}"
            yield f"about {costs}, plus ${output_cost:,.2f} for every 100 tokens per answer"


def _format_estimate(value: float) -> str:
    """Format a number with three significant digits."""
    unit = 10 ** max(0, floor(log10(max(1.0, value))) + 1 - _SIGNIFICANT_DIGITS)
    return f"{round(value / unit) * unit:,}"


def _format_range(value: TotalEstimate, *, is_rounded: bool) -> str:
    if not is_rounded and round(value.low) == round(value.high):
        return f"{value.mean:,.0f}"
    low, high = _format_estimate(value.low), _format_estimate(value.high)
    return low if low == high else f"{low} to {high}"


def _format_sizes(value: TotalEstimate) -> str:
    low, high = format_size(round(value.low)), format_size(round(value.high))
    return low if low == high else f"{low} to {high}"


@frozen
class _Measurement:
    """A prepared image: the tokens of its request, and its bytes as a file and as it is sent.

    Attributes:
        size: bytes of the file, by which the sample is sorted; of a page, those of the whole document.
    """

    size: int
    tokens: int | None
    original_bytes: float
    sent_bytes: int


def build_forecast(census: Census, plan: BatchPlan) -> Forecast:
    """Prepare a few images of all sizes, and estimate from them what the run would send."""
    sample = _choose_by_size(census.images)
    measurements: list[_Measurement] = []
    give_up_at, sample_size = time.monotonic() + _PREPARE_SECONDS, 0
    for image in sample:
        if sample_size >= _LEAST_SAMPLE_SIZE and time.monotonic() >= give_up_at:
            break
        sample_size += 1
        if (measurement := _measure(image, plan)) is not None:
            measurements.append(measurement)
    measurements.sort(key=lambda measurement: measurement.size)
    tokens = [measurement.tokens for measurement in measurements if measurement.tokens is not None]
    requests = census.request_count
    mean_original = fmean(measurement.original_bytes for measurement in measurements) if measurements else 0.0
    return Forecast(
        census=census,
        sample_size=sample_size,
        rejected_count=sample_size - len(measurements),
        tokens=estimate_total(tokens, requests) if len(tokens) == len(measurements) else None,
        original_bytes=census.file_bytes + census.unsized_count * mean_original,
        sent_bytes=estimate_total([measurement.sent_bytes for measurement in measurements], requests),
    )


def _choose_by_size(images: Sequence[SizedTask]) -> list[SizedTask]:
    """Choose images of all file sizes, evenly spaced, in an order in which the first few are of all sizes too."""
    by_size = sorted(images, key=lambda image: image.size or 0)
    count = min(_SAMPLE_SIZE, len(by_size))
    sample = [by_size[(2 * number + 1) * len(by_size) // (2 * count)] for number in range(count)]
    step = next((step for step in (7, 3, 2) if count % step), 1)  # has no divisor in common with the count
    return [sample[number * step % count] for number in range(count)]


def _measure(image: SizedTask, plan: BatchPlan) -> _Measurement | None:
    """Prepare an image; ``None`` if it cannot be sent."""
    request, pages = plan.batch_request, plan.page_finder
    try:
        loaded = tasks.load_image(image.task, plan.open_source(image.task), request, pages)
        ready = tasks.prepare_image(loaded, request, pages)
    except ImageError:
        return None
    measurement = _Measurement(image.size or 0, ready.tokens_estimate, 0.0, 0)
    if not isinstance(ready.image, PreparedImage):
        return measurement
    original_bytes = ready.image.size / ready.image.page_count
    return replace(measurement, original_bytes=original_bytes, sent_bytes=ready.image.upload_size)


def estimate_total(values: Sequence[float], count: int) -> TotalEstimate:
    """Estimate the sum of ``count`` values from some of them, which are evenly spaced by size.

    The variance is that of systematic samples from successive differences. Source: Wolter, "Introduction to Variance
    Estimation", section 8.2, estimator v2.
    """
    if not values or count == 0:
        return TotalEstimate(0.0, 0.0, 0.0)
    mean, size = fmean(values), len(values)
    error = 0.0
    if size > 1 and count > size:
        differences = sum((second - first) ** 2 for first, second in pairwise(values))
        error = 2 * sqrt(differences / (2 * (size - 1)) / size * (1 - size / count))
    return TotalEstimate(max(mean - error, min(values)), mean, min(mean + error, max(values))).scale(count)
