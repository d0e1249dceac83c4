"""The outcome of a benchmark on a terminal: tables with bars, failures, and the variant that is good enough."""

from collections.abc import Iterator, Sequence

from ..output.bars import Bar, measure_names, show_bar_table, show_sentences
from ..text import escape_control_characters
from .figures import Distribution, Times
from .outcome import BenchResult, LabelScores, VariantResult

#: The measures, each with its unit and its digits after the point.
_MEASURES = (
    ("ttft_seconds", "first token, s", 2),
    ("tokens_per_second", "tokens/s", 1),
    ("total_seconds", "whole answer, s", 2),
)
_Table = tuple[Sequence[str], Sequence[Sequence[str | Bar]]]
_CHOICE_REASONS = {"cost": "costs least", "tokens": "takes the fewest tokens", "seconds": "is fastest"}


def show_result(result: BenchResult) -> None:
    """Draw the tables and print the notes. Long names are replaced by letters, which a list explains."""
    names = [variant.name for variant in result.variants]
    letters = [_make_letters(number) for number in range(len(names))]
    if is_long := max(map(len, names)) > measure_names():
        show_sentences([*(f"{letter}  {name}" for letter, name in zip(letters, names, strict=True)), ""])
    for table in build_tables(result, letters if is_long else names):
        show_bar_table(*table)
    show_sentences(format_notes(result))


def _make_letters(number: int) -> str:
    """``A``, ``B`` and so on, and after ``Z`` ``AA``."""
    return chr(ord("A") + number % 26) * (1 + number // 26)


def build_tables(result: BenchResult, names: Sequence[str]) -> Iterator[_Table]:
    """Build each table: its column titles and its rows.

    Args:
        names: the names of the variants.
    """
    names = [_mark(result, number, name) for number, name in enumerate(names)]
    for name, title, digits in _MEASURES:
        if (table := _build_measure(result, names, name, title, digits)) is not None:
            yield table
    yield _build_totals(result, names)
    if result.plan.has_labels:
        yield _build_scores(result, names)
    if (number := _choose_calibrated(result)) is not None:
        yield _build_calibration(result.variants[number])


def _mark(result: BenchResult, number: int, name: str) -> str:
    """Mark the name of the variant that is good enough with a star."""
    if result.choice is None:
        return name
    return f"* {name}" if number == result.choice else f"  {name}"


def _build_measure(result: BenchResult, names: Sequence[str], name: str, title: str, digits: int) -> _Table | None:
    """Build the table of one measure: the endpoint's figures, ours, and a bar for the median of the first that is known."""
    sources: dict[str, list[Distribution | None]] = {
        label: [getattr(_get_times(variant, source), name) for variant in result.variants]
        for label, source in (("endpoint", "server"), ("here", "local"))
    }
    sources = {label: values for label, values in sources.items() if any(values)}
    if not sources:
        return None
    titles = [title]
    rows: list[list[str | Bar]] = [[variant] for variant in names]
    for label, distributions in sources.items():
        titles += [f"{label} min", "p50", "p95"]
        for row, distribution in zip(rows, distributions, strict=True):
            row.extend(_format_distribution(distribution, digits))
    medians = [0.0 if item is None else item.p50 for item in next(iter(sources.values()))]
    for row, value in zip(rows, medians, strict=True):
        row.append(Bar(value / (max(medians) or 1.0)))
    return [*titles, ""], rows


def _get_times(variant: VariantResult, source: str) -> Times:
    times: Times = getattr(variant.figures, source)
    return times


def _format_distribution(distribution: Distribution | None, digits: int) -> list[str]:
    if distribution is None:
        return ["-"] * 3
    return [f"{value:,.{digits}f}" for value in (distribution.min, distribution.p50, distribution.p95)]


def _build_totals(result: BenchResult, names: Sequence[str]) -> _Table:
    """Build the table of answers, failures, tokens and cost."""
    rows: list[list[str | Bar]] = []
    costs = [variant.figures.mean_cost for variant in result.variants]
    highest = max(filter(None, costs), default=0.0)
    for number, variant in enumerate(result.variants):
        values = variant.figures
        row: list[str | Bar] = [
            names[number],
            str(values.answers),
            str(values.failure_count),
            _format_median(values.prompt_tokens),
            _format_median(values.completion_tokens),
        ]
        if highest:
            row += [
                "-" if values.mean_cost is None else f"${values.mean_cost:.6f}",
                Bar((values.mean_cost or 0) / highest),
            ]
        rows.append(row)
    cost_titles = ["cost each", ""] if highest else []
    return ["requests", "answers", "failed", "tokens in", "tokens out", *cost_titles], rows


def _format_median(distribution: Distribution | None) -> str:
    return "-" if distribution is None else f"{distribution.p50:,.0f}"


def _build_scores(result: BenchResult, names: Sequence[str]) -> _Table:
    is_judged = result.plan.is_judged
    titles = ["score", "accuracy" if is_judged else "word F1", "± error"]
    titles += ["precision", "recall"] if is_judged else ["exact"]
    rows: list[list[str | Bar]] = []
    for number, variant in enumerate(result.variants):
        label_scores = variant.label_scores
        value = label_scores.score.value if label_scores else None
        cells = [_format_share(value), _format_share(label_scores.score.error if label_scores else None)]
        if is_judged:
            confusion = label_scores.confusion if label_scores else None
            cells += [_format_share(getattr(confusion, name, None)) for name in ("precision", "recall")]
        else:
            cells.append(_format_share(label_scores.exact if label_scores else None))
        rows.append([names[number], *cells, Bar(value or 0.0)])
    return [*titles, ""], rows


def _format_share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _choose_calibrated(result: BenchResult) -> int | None:
    """Choose the variant whose calibration is shown: the one that is good enough, else the best."""
    number = result.best if result.choice is None else result.choice
    scored: LabelScores | None = None if number is None else result.variants[number].label_scores
    return number if scored is not None and scored.calibration is not None else None


def _build_calibration(variant: VariantResult) -> _Table:
    assert variant.label_scores is not None
    assert variant.label_scores.calibration is not None
    rows: list[list[str | Bar]] = [
        [
            f"from {row.threshold:.1f}",
            str(row.answers),
            _format_share(row.yes_share),
            _format_share(row.confusion.precision),
            _format_share(row.confusion.recall),
            _format_share(row.confusion.accuracy),
            Bar(row.confusion.accuracy),
        ]
        for row in variant.label_scores.calibration.rows
    ]
    return ["probability", "answers", "true yes", "precision", "recall", "accuracy", ""], rows


def format_notes(result: BenchResult) -> Iterator[str]:
    """Format the failures, the warnings, the choice and the thresholds as sentences."""
    warnings: dict[str, list[str]] = {}
    for variant in result.variants:
        for warning in variant.warnings:
            warnings.setdefault(escape_control_characters(warning), []).append(variant.name)
        if variant.unreachable is not None:
            yield f"{variant.name}: {escape_control_characters(variant.unreachable.message)}"
            continue
        for failure in variant.figures.failures:
            yield f"{variant.name}: {failure.count} failed: {escape_control_characters(failure.message)}"
        if variant.figures.retried:
            yield f"{variant.name}: {variant.figures.retried} answered after a retry; only the last attempt was timed"
    for warning, names in warnings.items():
        yield warning if len(names) == len(result.variants) else f"{'; '.join(names)}: {warning}"
    if result.choice is not None and result.best is not None and result.choice_by is not None:
        yield _explain_choice(result, result.choice, result.best, _CHOICE_REASONS[result.choice_by])
    if result.plan.is_judged:
        yield from _explain_thresholds(result)


def _explain_choice(result: BenchResult, choice: int, best: int, reason: str) -> str:
    name = result.variants[choice].name
    if choice == best:
        return f"* {name} has the best score, and {reason} of all within its error"
    return f"* {name} {reason} of all whose score is within its error of the best, {result.variants[best].name}"


def _explain_thresholds(result: BenchResult) -> Iterator[str]:
    for variant in result.variants:
        if variant.label_scores is None:
            continue
        calibration = variant.label_scores.calibration
        if calibration is None:
            yield f"{variant.name}: no threshold: there are no probabilities, or not both yes and no among the labels"
        elif calibration.threshold is None or calibration.at_threshold is None:
            yield f"{variant.name}: no threshold is better than always answering yes, or always no"
        else:
            low, high = f"{calibration.low:.3g}", f"{calibration.high:.3g}"
            yield (
                f"{variant.name}: --threshold {calibration.threshold:.3g} for test and grep: accuracy "
                f"{calibration.at_threshold.accuracy:.3f} (threshold {low} to {high} in 90 % of resamples)"
            )
