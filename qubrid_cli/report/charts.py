"""The data of small charts, which the macros in ``charts.html`` draw as SVG: histograms, timelines, ranges. Pure."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from statistics import quantiles

from ..frozen import frozen

#: The size of the plot in units of the SVG, which are about pixels.
WIDTH, HEIGHT = 300, 84
#: The approximate number of columns of a histogram, and of ticks below any chart.
_COLUMNS, _TICKS = 24, 4
#: Values above this multiple of the 95th percentile are counted in the last column.
_TAIL = 1.6
#: Seconds between the ticks of a timeline.
_TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


@frozen
class Column:
    """A column of a chart, in units of the SVG, with its tooltip.

    Attributes:
        kind: the CSS class of its element: ``ok`` or ``failed``.
    """

    x: float
    y: float
    width: float
    height: float
    text: str
    kind: str = "ok"


@frozen
class Tick:
    """A label below a chart, or the label of a line in it, at a horizontal position."""

    x: float
    label: str
    anchor: str = "middle"


@frozen
class Chart:
    """A chart of columns.

    Attributes:
        summary: a description in words, for screen readers.
        markers: vertical lines with labels.
    """

    title: str
    summary: str
    columns: tuple[Column, ...]
    ticks: tuple[Tick, ...]
    markers: tuple[Tick, ...] = ()


def build_histogram(title: str, values: Iterable[float], unit: str) -> Chart | None:
    """Build a histogram of values, with their median; ``None`` for fewer than two values."""
    values = sorted(value for value in values if math.isfinite(value))
    if len(values) < 2:
        return None
    percentiles = quantiles(values, n=100, method="inclusive")
    p50, p95 = percentiles[49], percentiles[94]
    is_cut = values[-1] > p95 * _TAIL
    low, high = values[0], p95 * _TAIL if is_cut else values[-1]
    step = find_step((high - low) or abs(high) or 1, _COLUMNS)
    start = math.floor(low / step) * step
    count = max(1, math.ceil((high - start) / step + 1e-9))
    counts = [0] * count
    for value in values:
        counts[min(count - 1, int((value - start) / step + 1e-9))] += 1
    end = start + count * step
    names = [f"{format_number(start + i * step)}–{format_number(start + (i + 1) * step)} {unit}" for i in range(count)]
    if is_cut:
        names[-1] = f"{format_number(end - step)} {unit} or more"
    texts = [f"{name}: {number:,}" for name, number in zip(names, counts, strict=True)]

    def place(value: float) -> float:
        return round(WIDTH * (min(value, end) - start) / (end - start), 1)

    markers = (_place_label(place(p50), f"median {format_number(p50)} {unit}"),)
    return Chart(
        title,
        f"{title}: median {format_number(p50)} {unit}, 95th percentile {format_number(p95)} {unit}, "
        f"from {format_number(values[0])} to {format_number(values[-1])} {unit}, of {len(values):,}",
        tuple(_build_columns([(counts, "ok")], texts)),
        tuple(_place_label(place(value), format_number(value)) for value in find_ticks(start, end, _TICKS)),
        markers,
    )


def build_timeline(title: str, times: Sequence[tuple[float, bool]]) -> Chart | None:
    """Build a timeline of the number of answers; ``None`` if all arrived in the same second.

    Args:
        times: the time of each answer, in seconds since 1970, and whether it is a success.
    """
    if not times:
        return None
    start, end = min(moment for moment, _ in times), max(moment for moment, _ in times) + 1
    if end - start < 2:
        return None
    count = int(min(_COLUMNS * 2, end - start))
    counts = {True: [0] * count, False: [0] * count}
    for moment, is_ok in times:
        counts[is_ok][int((moment - start) * count / (end - start))] += 1
    width = (end - start) / count
    clock = _clock_format(end - start)
    names = [time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(start + i * width)) for i in range(count)]
    texts = [
        f"{name}: {ok:,}{f', {failed:,} failed' if failed else ''}"
        for name, ok, failed in zip(names, counts[True], counts[False], strict=True)
    ]
    step = next((step for step in _TIME_STEPS if (end - start) / step <= _TICKS), (end - start) / _TICKS)
    offset = time.localtime(start).tm_gmtoff
    first = math.ceil((start + offset) / step) * step - offset
    ticks = [first + i * step for i in range(_TICKS + 1) if first + i * step <= end]
    return Chart(
        title,
        f"{title}: {len(times):,} from {names[0]} on, in {format_number(end - start)} s",
        tuple(_build_columns([(counts[True], "ok"), (counts[False], "failed")], texts)),
        tuple(
            _place_label(
                round(WIDTH * (moment - start) / (end - start), 1), time.strftime(clock, time.localtime(moment))
            )
            for moment in ticks
        ),
    )


def _clock_format(seconds: float) -> str:
    return "%H:%M:%S" if seconds < 600 else "%H:%M" if seconds < 86400 else "%b %d"


def _build_columns(series: Sequence[tuple[Sequence[int], str]], texts: Sequence[str]) -> Iterable[Column]:
    """Build the columns of counts, with each series stacked on the one before."""
    highest = max(map(sum, zip(*(counts for counts, _ in series), strict=True)))
    width = WIDTH / len(texts)
    below = [0.0] * len(texts)
    for counts, kind in series:
        for i, count in enumerate(counts):
            if not count:
                continue
            height = max(1.5, HEIGHT * count / highest)
            y = max(0.0, HEIGHT - below[i] - height)
            below[i] += height
            gap = min(1.5, width * 0.2)
            yield Column(round(i * width, 2), round(y, 2), round(width - gap, 2), round(height, 2), texts[i], kind)


def _place_label(x: float, label: str) -> Tick:
    """Place a label so that it stays within the chart."""
    return Tick(x, label, "start" if x < WIDTH * 0.12 else "end" if x > WIDTH * 0.88 else "middle")


def find_step(span: float, count: int) -> float:
    """Find a round step, 1, 2 or 5 times a power of ten, that divides a span into at most ``count`` parts."""
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))


def find_ticks(low: float, high: float, count: int) -> Sequence[float]:
    """Find round values from ``low`` to ``high``."""
    step = find_step((high - low) or 1, count)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def format_number(value: float) -> str:
    """Format a number with three significant digits: ``0.412``, ``38.4``, ``2,540``."""
    if value and abs(value) < 1000:
        digits = max(0, 2 - math.floor(math.log10(abs(value))))
        text = f"{value:.{min(digits, 6)}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:,.0f}"


@frozen
class RangeBar:
    """A bar from the lowest value to the 95th percentile, with the median, in units of the SVG."""

    label: str
    x: float
    width: float
    median: float
    text: str
    is_best: bool = False


@frozen
class RangeChart:
    """A chart that compares several distributions, with a bar for each."""

    title: str
    summary: str
    bars: tuple[RangeBar, ...]
    ticks: tuple[Tick, ...]


def build_ranges(
    title: str,
    rows: Sequence[tuple[str, float, float, float]],
    unit: str,
    *,
    prefers: Callable[[Iterable[float]], float] = min,
) -> RangeChart | None:
    """Build a chart of ranges on a scale that begins at zero; ``None`` without rows.

    Args:
        rows: the label, the lowest value, the median and the 95th percentile of each.
        prefers: ``min`` or ``max``, which finds the best median.
    """
    rows = [row for row in rows if all(map(math.isfinite, row[1:]))]
    if not rows:
        return None
    end = max(high for *_, high in rows) or 1.0
    best = prefers(median for _, _, median, _ in rows)

    def place(value: float) -> float:
        return round(WIDTH * value / end, 1)

    bars = tuple(
        RangeBar(
            label,
            place(low),
            max(1.5, round(place(high) - place(low), 1)),
            place(median),
            f"{label}: median {format_number(median)} {unit}, from {format_number(low)} to {format_number(high)} {unit}",
            is_best=median == best and len(rows) > 1,
        )
        for label, low, median, high in rows
    )
    ticks = tuple(_place_label(place(value), format_number(value)) for value in find_ticks(0, end, _TICKS))
    return RangeChart(title, f"{title}. " + "; ".join(bar.text for bar in bars), bars, ticks)
