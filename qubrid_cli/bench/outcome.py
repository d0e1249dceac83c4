"""The outcome of a benchmark: figures and scores of each variant, and the cheapest one that is good enough. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import inf
from statistics import fmean

from ..errors import BatchIncompleteError, QvisionError
from ..frozen import frozen
from ..metrics import get_number
from . import figures, scores
from .labels import read_yes_or_no
from .measure import Measurement, Measuring
from .plan import BenchPlan, Variant


@frozen
class LabelScores:
    """The scores of the answers of a variant.

    Attributes:
        score: the score by which variants are compared: the accuracy of verdicts, or the F1 of the words of other answers.
        by_image: this score for each image, averaged over its runs.
        exact: the share of exact matches; ``None`` for verdicts.
        confusion: the counts of verdicts; ``None`` for other answers, like ``calibration``.
    """

    score: scores.Score
    by_image: Mapping[int, float]
    exact: float | None
    confusion: scores.Confusion | None
    calibration: scores.Calibration | None


@frozen
class VariantResult:
    """The measurements of one variant.

    Attributes:
        unreachable: the error with which all requests of its model fail; ``None`` if there is none.
        warnings: the warnings of its answers, without repetition.
        label_scores: ``None`` without labels or without answers.
    """

    variant: Variant
    name: str
    figures: figures.VariantFigures
    label_scores: LabelScores | None
    unreachable: QvisionError | None
    warnings: Sequence[str]


@frozen
class BenchResult:
    """The outcome of a benchmark.

    Attributes:
        error: why it stopped early, or which failure sets its exit code; ``None`` if all requests have an answer.
        best: the position of the variant with the best score.
        choice: the position of the cheapest variant whose score is within the error of the best.
        choice_by: what "cheapest" means: ``cost``, ``tokens`` or ``seconds``, the first that is known for all variants.
        is_complete: it was not interrupted.
    """

    plan: BenchPlan
    measurements: Sequence[Measurement]
    variants: Sequence[VariantResult]
    error: QvisionError | None
    best: int | None
    choice: int | None
    choice_by: str | None
    is_complete: bool

    @property
    def has_answers(self) -> bool:
        """Whether there is anything to show."""
        return any(variant.figures.answers for variant in self.variants)


def build_result(
    plan: BenchPlan,
    measurements: Sequence[Measurement],
    measuring: Measuring,
    stop: QvisionError | None,
) -> BenchResult:
    """Summarize the measurements.

    Args:
        stop: why the benchmark ended early; ``None`` if it did not.
    """
    by_variant: dict[int, list[Measurement]] = defaultdict(list)
    for measurement in measurements:
        by_variant[measurement.job.variant].append(measurement)
    variants = [
        VariantResult(
            variant,
            plan.name_variant(variant),
            figures.summarize_requests([measurement.answer for measurement in by_variant[number]]),
            _score(plan, by_variant[number]) if plan.has_labels else None,
            measuring.failed_models.get(variant.model),
            tuple(measuring.warnings.get(number, ())),
        )
        for number, variant in enumerate(plan.variants)
    ]
    best, choice, choice_by = _choose(variants)
    error = stop or _find_error(plan, measurements, measuring.failed_models)
    return BenchResult(plan, measurements, variants, error, best, choice, choice_by, is_complete=stop is None)


def _find_error(
    plan: BenchPlan, measurements: Sequence[Measurement], failed_models: Mapping[str, QvisionError]
) -> QvisionError | None:
    """Find the error of the run: that of the first failure if every request failed."""
    errors = [item.answer.error for item in measurements if item.answer.error is not None]
    failed = plan.request_count - (len(measurements) - len(errors))
    if not failed:
        return None
    if failed == plan.request_count:
        return next(iter([*failed_models.values(), *errors]))
    return BatchIncompleteError(f"{failed} of {plan.request_count} requests have no answer")


def score_measurement(plan: BenchPlan, item: Measurement) -> scores.AnswerScore | None:
    """Score an answer against its label; ``None`` without a label or an answer."""
    expected = plan.samples[item.job.sample].expected
    if expected is None or item.answer.error is not None:
        return None
    if not plan.is_judged:
        return scores.score_answer(item.answer.text if item.answer.data is None else item.answer.data, expected)
    verdict = decide_answer(plan, item)
    if verdict is None:
        return None
    score = float(verdict[0] == ("yes" if read_yes_or_no(expected) else "no"))
    return scores.AnswerScore(score, score)


def decide_answer(plan: BenchPlan, item: Measurement) -> tuple[str, float | None] | None:
    """Decide a verdict with the plan's threshold: ``yes``, ``no`` or ``unsure``, and the probability of yes if known."""
    data = item.answer.data
    if not isinstance(data, dict) or "answer" not in data:
        return None
    probability = get_number(data, "probability")
    if probability is None:
        return str(data["answer"]), None
    return "yes" if probability >= plan.threshold else "no", probability


def _score(plan: BenchPlan, measurements: Sequence[Measurement]) -> LabelScores | None:
    """Score the answers of a variant against the labels; failures do not count."""
    scored = [(item, score) for item in measurements if (score := score_measurement(plan, item)) is not None]
    by_image: dict[int, list[float]] = defaultdict(list)
    for item, score in scored:
        by_image[item.job.sample].append(score.f1)
    means = {image: fmean(values) for image, values in by_image.items()}
    mean = scores.average(means)
    if mean is None:
        return None
    if not plan.is_judged:
        return LabelScores(mean, means, fmean(score.exact for _, score in scored), None, None)
    pairs = [
        (*verdict, bool(read_yes_or_no(plan.samples[item.job.sample].expected)))
        for item, _ in scored
        if (verdict := decide_answer(plan, item)) is not None
    ]
    probabilities = [(probability, is_yes) for _, probability, is_yes in pairs if probability is not None]
    confusion = scores.count_verdicts([(word, is_yes) for word, _, is_yes in pairs])
    return LabelScores(mean, means, None, confusion, scores.calibrate(probabilities))


def _choose(variants: Sequence[VariantResult]) -> tuple[int | None, int | None, str | None]:
    """Choose the best variant, the cheapest one within its error, and the meaning of "cheapest".

    A variant that has no answer about some image is never chosen: it may have failed at the hard ones.
    """
    all_images = {image for variant in variants if variant.label_scores for image in variant.label_scores.by_image}
    by_image = [
        variant.label_scores.by_image
        if variant.label_scores and variant.label_scores.by_image.keys() >= all_images
        else {}
        for variant in variants
    ]
    best = scores.find_best(by_image)
    if best is None or len(variants) == 1:
        return best, None, None
    good = [number for number, scored in enumerate(by_image) if scores.is_within_error(scored, by_image[best])]
    seconds = [_get_median_seconds(variant.figures) for variant in variants]
    for name, prices in (
        ("cost", [variant.figures.mean_cost for variant in variants]),
        ("tokens", [variant.figures.mean_tokens for variant in variants]),
        ("seconds", seconds),
    ):
        ranking = [
            (price, variants[number].figures.failure_count, seconds[number], number)
            for number in good
            if (price := prices[number]) is not None
        ]
        if len(ranking) == len(good):
            return best, min(ranking)[-1], name
    return best, None, None


def _get_median_seconds(summary: figures.VariantFigures) -> float:
    total = summary.local.total_seconds
    return inf if total is None else total.p50
