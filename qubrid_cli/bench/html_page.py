"""The outcome of a benchmark as an HTML page: charts, figures, and the answers about each image side by side."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..frozen import frozen
from ..images.encode import ImageLimits
from ..output.bars import Bar
from ..report.charts import RangeChart, build_ranges
from ..report.html_page import PageSetup, render_page
from ..report.safe_html import render_markdown
from ..text import escape_control_characters, json_text, strip_control_characters
from .figures import Distribution
from .labels import Expected
from .measure import Measurement
from .outcome import BenchResult, LabelScores, decide_answer, score_measurement
from .tables import build_tables, format_notes

if TYPE_CHECKING:
    from .measure import ImageStore

#: The thumbnails: pixels of the longer side, and the quality of a JPEG.
_THUMBNAIL = ImageLimits(max_side=256, quality=70)
#: Bytes of all thumbnails; further images are shown by their names.
_MAX_THUMBNAIL_BYTES = 20_000_000
_CHARTS = (
    ("ttft_seconds", "First token", "s", min),
    ("tokens_per_second", "Speed", "tokens/s", max),
    ("total_seconds", "Whole answer", "s", min),
)


@frozen
class ShownAnswer:
    """An answer of a variant about an image; equal answers are shown once, with their count.

    Attributes:
        html: the answer as safe HTML; ``None`` to show the text unchanged.
        is_correct: whether it matches the label; ``None`` without a label.
    """

    text: str
    html: str | None
    count: int
    detail: str
    is_failure: bool
    is_correct: bool | None


@frozen
class ShownImage:
    """An image and the answers about it, one list for each variant."""

    name: str
    thumbnail: str | None
    width: int
    height: int
    prompt: str | None
    expected: str | None
    answers: Sequence[Sequence[ShownAnswer]]


def render_result(result: BenchResult, images: "ImageStore") -> bytes:
    """Render the page as one HTML file."""
    plan, names = result.plan, [variant.name for variant in result.variants]
    costs = [cost for variant in result.variants if (cost := variant.figures.total_cost) is not None]
    return render_page(
        "bench.html",
        PageSetup(styles=("bench.css",), folders=(Path(__file__).parent / "assets",)),
        title=f"Benchmark of {len(plan.variants)} variants",
        result=result,
        names=names,
        prompts=list(dict.fromkeys(strip_control_characters(variant.request.prompt) for variant in plan.variants)),
        created=time.strftime("%Y-%m-%d %H:%M"),
        total_cost=f"${sum(costs):.4f}" if costs else None,
        notes=list(format_notes(result)),
        charts=list(_build_charts(result)),
        tables=[_drop_bars(*table) for table in build_tables(result, names)],
        images=list(_list_images(result, images)),
    )


def _drop_bars(
    titles: Sequence[str], rows: Sequence[Sequence[str | Bar]]
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Remove the bars from a table, because the page has charts instead."""
    return list(filter(None, titles)), [[cell.strip() for cell in row if isinstance(cell, str)] for row in rows]


def _build_charts(result: BenchResult) -> Iterator[RangeChart]:
    for source, label in (("server", "as the endpoint reports it"), ("local", "measured here")):
        for name, title, unit, prefers in _CHARTS:
            distributions = [getattr(getattr(variant.figures, source), name) for variant in result.variants]
            yield from _build_chart(f"{title} in {unit}, {label}", result, distributions, unit, prefers)
    scores = [_get_range(variant.label_scores) for variant in result.variants]
    yield from _build_chart("Score with its error", result, scores, "", max)
    tokens = [variant.figures.prompt_tokens for variant in result.variants]
    yield from _build_chart("Prompt tokens", result, tokens, "tokens", min)
    costs = [None if (cost := variant.figures.mean_cost) is None else 1000 * cost for variant in result.variants]
    ranges = [None if cost is None else Distribution(0.0, cost, cost) for cost in costs]
    yield from _build_chart("Cost of 1,000 answers in US dollars", result, ranges, "US dollars", min)


def _build_chart(
    title: str, result: BenchResult, distributions: Sequence[Distribution | None], unit: str, prefers: Any
) -> Iterator[RangeChart]:
    rows = [
        (variant.name, item.min, item.p50, item.p95)
        for variant, item in zip(result.variants, distributions, strict=True)
        if item is not None
    ]
    if (chart := build_ranges(title, rows, unit, prefers=prefers)) is not None:
        yield chart


def _get_range(label_scores: LabelScores | None) -> Distribution | None:
    if label_scores is None:
        return None
    value, error = label_scores.score.value, label_scores.score.error or 0.0
    return Distribution(max(0.0, value - error), value, min(1.0, value + error))


def _list_images(result: BenchResult, images: "ImageStore") -> Iterator[ShownImage]:
    answers: dict[tuple[int, int], list[Measurement]] = {}
    for item in result.measurements:
        answers.setdefault((item.job.sample, item.job.variant), []).append(item)
    size = 0
    for number, sample in enumerate(result.plan.samples):
        thumbnail = images.prepare_small(number, _THUMBNAIL) if size < _MAX_THUMBNAIL_BYTES else None
        size += thumbnail.upload_size if thumbnail else 0
        yield ShownImage(
            escape_control_characters(sample.image.name),
            str(thumbnail.url) if thumbnail else None,
            thumbnail.upload.width if thumbnail else 0,
            thumbnail.upload.height if thumbnail else 0,
            None if sample.prompt is None else strip_control_characters(sample.prompt),
            None if sample.expected is None else _format_value(sample.expected),
            [list(_list_answers(result, answers.get((number, index), []))) for index in range(len(result.variants))],
        )


def _format_value(value: Expected) -> str:
    return strip_control_characters(value if isinstance(value, str) else json_text(value))


def _list_answers(result: BenchResult, items: Sequence[Measurement]) -> Iterator[ShownAnswer]:
    """Group equal answers."""
    groups: dict[tuple[str, bool], list[Measurement]] = {}
    for item in items:
        error = item.answer.error
        groups.setdefault(
            (
                _format_answer(result, item) if error is None else escape_control_characters(error.message),
                error is not None,
            ),
            [],
        ).append(item)
    for (text, is_failure), group in groups.items():
        seconds = group[0].answer.timing.total_seconds
        yield ShownAnswer(
            text,
            None if is_failure else render_markdown(text),
            len(group),
            "" if seconds is None or is_failure else f"{seconds:.2f} s",
            is_failure,
            None if (score := score_measurement(result.plan, group[0])) is None else score.exact == 1,
        )


def _format_answer(result: BenchResult, item: Measurement) -> str:
    verdict = decide_answer(result.plan, item) if result.plan.is_judged else None
    if verdict is None:
        return _format_value(item.answer.text if item.answer.data is None else item.answer.data)
    word, probability = verdict
    return word if probability is None else f"{word} ({probability:.3g})"
