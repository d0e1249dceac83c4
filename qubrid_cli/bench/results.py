"""The outcome of a benchmark: figures and scores of each variant, and the cheapest one that is good enough. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import inf
from statistics import fmean

from ..errors import BatchIncompleteError, QvisionError
from ..frozen import frozen
from . import figures, scores
from .labels import read_yes_or_no
from .measure import Measurement, Measuring
from .plan import BenchPlan, Variant


@frozen
class LabelScores:
    """How right the answers of a variant are.

    Attributes:
        score: by which variants are compared: the accuracy of verdicts, the F1 of the words of other answers.
        by_image: the same for each image, averaged over its runs.
        exact: the share of the answers that are exactly right; ``None`` for verdicts, as are the next two for others.
    """

    score: scores.Score
    by_image: Mapping[int, float]
    exact: float | None
    confusion: scores.Confusion | None
    calibration: scores.Calibration | None


@frozen
class VariantResult:
    """What was measured of one variant.

    Attributes:
        unreachable: why no request can reach its model.
        warnings: about its answers, each once.
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
    """The outcome.

    Attributes:
        error: why the benchmark stopped early, or what its exit code says; ``None`` if all requests have an answer.
        best: the position of the variant with the best score.
        choice: the position of the cheapest variant whose score is within its error of the best.
        choice_by: what "cheapest" means: ``cost``, ``tokens`` or ``seconds``, the first that is known of all variants.
        is_complete: whether it was not interrupted.
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
    """Summarize what was measured.

    Args:
        stop: why the benchmark ended early.
    """
    by_variant: dict[int, list[Measurement]] = defaultdict(list)
    for measurement in measurements:
        by_variant[measurement.job.variant].append(measurement)
    variants = [
        VariantResult(
            variant,
            plan.name_variant(variant),
            figures.summarize([measurement.answer for measurement in by_variant[number]]),
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
    """The error of the run: that of the first failure if nothing succeeded."""
    errors = [item.answer.error for item in measurements if item.answer.error is not None]
    failed = plan.request_count - (len(measurements) - len(errors))
    if not failed:
        return None
    if failed == plan.request_count:
        return next(iter([*failed_models.values(), *errors]))
    return BatchIncompleteError(f"{failed} of {plan.request_count} requests have no answer")


def _score(plan: BenchPlan, measurements: Sequence[Measurement]) -> LabelScores | None:
    """Compare the answers with the labels; failures count for nothing."""
    answers = [item for item in measurements if item.answer.error is None]
    by_image: dict[int, list[float]] = defaultdict(list)
    exact: list[float] = []
    verdicts: list[tuple[str, bool]] = []
    probabilities: list[tuple[float, bool]] = []
    for item in answers:
        expected = plan.samples[item.job.sample].expected
        if not plan.is_judged:
            answer = item.answer.text if item.answer.data is None else item.answer.data
            score = scores.score_answer(answer, expected)
            exact.append(score.exact)
            by_image[item.job.sample].append(score.f1)
        elif (verdict := figures.read_verdict(item.answer)) is not None:
            word, probability = verdict
            is_yes = bool(read_yes_or_no(expected))
            if probability is not None:
                word = "yes" if probability >= plan.threshold else "no"
                probabilities.append((probability, is_yes))
            verdicts.append((word, is_yes))
            by_image[item.job.sample].append(float(word == ("yes" if is_yes else "no")))
    means = {image: fmean(values) for image, values in by_image.items()}
    score_of_all = scores.average(means)
    if score_of_all is None:
        return None
    return LabelScores(
        score_of_all,
        means,
        exact=fmean(exact) if exact else None,
        confusion=scores.count_verdicts(verdicts) if verdicts else None,
        calibration=scores.calibrate(probabilities),
    )


def _choose(variants: Sequence[VariantResult]) -> tuple[int | None, int | None, str | None]:
    """The best variant, the cheapest one within its error, and what "cheapest" means.

    A variant that left an image without any answer is neither: it may have avoided the hard ones.
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
        known = [(price, seconds[number], number) for number in good if (price := prices[number]) is not None]
        if len(known) == len(good):
            return best, min(known)[2], name
    return best, None, None


def _get_median_seconds(summary: figures.VariantFigures) -> float:
    total = summary.local.total_seconds
    return inf if total is None else total.p50
