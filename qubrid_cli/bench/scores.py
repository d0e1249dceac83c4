"""The accuracy of answers against labels: scores with their standard errors, and thresholds for probabilities. Pure."""

import math
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean, stdev
from typing import Any

from ..frozen import frozen

#: The difference of scores that are equal except for rounding.
_TOLERANCE = 1e-9
#: Thresholds of the calibration table.
_STEPS = tuple(step / 10 for step in range(1, 10))
#: The limits of ``--threshold``.
_MIN_THRESHOLD, _MAX_THRESHOLD = 0.001, 0.999
#: Resamples for the range of the threshold, and the share of them that it covers.
_RESAMPLES, _COVERED = 200, 0.9
_ARTICLES = frozenset({"a", "an", "the"})
_NUMBER = r"[-+]?(\d{1,3}(,\d{3})+|\d+)?(\.\d+)?"
#: Scripts without spaces between words; each character counts as a word.
_WITHOUT_BLANKS = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"


# Texts and values


def split_words(text: str) -> list[str]:
    """Split a text into words for comparison, without case, punctuation and articles.

    Source: the evaluation script of SQuAD (Rajpurkar et al. 2016), the usual one for short answers.
    """
    words = re.findall(rf"[{_WITHOUT_BLANKS}]|[^\W{_WITHOUT_BLANKS}]+", unicodedata.normalize("NFKC", text).casefold())
    return [word for word in words if word not in _ARTICLES] or words


def parse_number(value: object) -> float | None:
    """Parse a number, or a text that is a number such as ``1,234.50``; ``None`` for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    text = value.strip().removesuffix(".") if isinstance(value, str) else ""
    is_number = any(map(str.isdigit, text)) and re.fullmatch(_NUMBER, text, re.ASCII)
    return float(text.replace(",", "")) if is_number else None


@frozen
class AnswerScore:
    """The score of an answer, from 0 to 1.

    Attributes:
        exact: 1 for an exact match, otherwise 0.
        f1: the F1 of the words of a text, or of the items of a list.
    """

    exact: float
    f1: float


def score_answer(answer: Any, expected: Any) -> AnswerScore:
    """Compare an answer, or a value of a schema, with the expected one. Of an object, only the expected keys count."""
    if isinstance(expected, Mapping):
        values = answer if isinstance(answer, Mapping) else {}
        parts = [score_answer(values.get(key), value) for key, value in expected.items()]
        if not parts:
            return AnswerScore(1.0, 1.0)
        return AnswerScore(min(part.exact for part in parts), fmean(part.f1 for part in parts))
    if isinstance(answer, Mapping) and len(answer) == 1:
        (answer,) = answer.values()
    if isinstance(expected, list):
        texts = [sorted(_as_text(item) for item in value) for value in (_as_list(answer), expected)]
        f1 = _measure_overlap(*(["\0".join(split_words(text)) for text in items] for items in texts))
        return AnswerScore(float(f1 > 1 - _TOLERANCE), f1)
    numbers = parse_number(answer), parse_number(expected)
    if None not in numbers:
        is_equal = math.isclose(numbers[0] or 0.0, numbers[1] or 0.0, rel_tol=_TOLERANCE)
        return AnswerScore(float(is_equal), float(is_equal))
    words = split_words(_as_text(answer)), split_words(_as_text(expected))
    return AnswerScore(float(words[0] == words[1]), _measure_overlap(*words))


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (
        ""
        if value is None
        else value
        if isinstance(value, str)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def _measure_overlap(first: Sequence[str], second: Sequence[str]) -> float:
    """Compute F1: the harmonic mean of precision and recall of the words."""
    if not first or not second:
        return float(first == second)
    common = sum((Counter(first) & Counter(second)).values())
    return 2 * common / (len(first) + len(second))


# Yes or no


@frozen
class Confusion:
    """Counts of verdicts by the expected ones. An unsure answer counts as wrong, and not as a yes."""

    true_yes: int = 0
    false_yes: int = 0
    true_no: int = 0
    false_no: int = 0
    unsure_yes: int = 0
    unsure_no: int = 0

    @property
    def count(self) -> int:
        """The number of answers."""
        return self.true_yes + self.false_yes + self.true_no + self.false_no + self.unsure_yes + self.unsure_no

    @property
    def accuracy(self) -> float:
        """The share of correct answers."""
        return (self.true_yes + self.true_no) / self.count

    @property
    def precision(self) -> float | None:
        """The share of the answers yes that are correct; ``None`` without any."""
        return _divide(self.true_yes, self.true_yes + self.false_yes)

    @property
    def recall(self) -> float | None:
        """The share of the images with an expected yes whose answer is yes; ``None`` without any."""
        return _divide(self.true_yes, self.true_yes + self.false_no + self.unsure_yes)

    @property
    def f1(self) -> float | None:
        """The harmonic mean of precision and recall; ``None`` without an expected or answered yes."""
        wrong = self.false_yes + self.false_no + self.unsure_yes
        return _divide(2 * self.true_yes, 2 * self.true_yes + wrong)


def _divide(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def count_verdicts(pairs: Sequence[tuple[str, bool]]) -> Confusion:
    """Count verdicts.

    Args:
        pairs: the answer, ``yes``, ``no`` or ``unsure``, and whether yes is expected.
    """
    counts = Counter(pairs)
    return Confusion(
        true_yes=counts["yes", True],
        false_yes=counts["yes", False],
        true_no=counts["no", False],
        false_no=counts["no", True],
        unsure_yes=counts["unsure", True],
        unsure_no=counts["unsure", False],
    )


@frozen
class CalibrationRow:
    """The effect of a threshold.

    Attributes:
        answers: the number of answers whose probability is from this threshold up to the next one.
        yes_share: the share of these answers whose expected answer is yes; ``None`` without any.
        confusion: the verdicts of all answers with this threshold.
    """

    threshold: float
    answers: int
    yes_share: float | None
    confusion: Confusion


@frozen
class Calibration:
    """The probabilities of a variant against the expected answers.

    Attributes:
        threshold: the one with the fewest wrong answers; ``None`` if none is better than always yes or always no.
        low: the lower end of the range of the threshold in 90 % of the resamples.
        high: the upper end of this range.
        at_threshold: the verdicts with the threshold.
        rows: the effects of thresholds from 0 to 0.9.
    """

    threshold: float | None
    low: float | None
    high: float | None
    at_threshold: Confusion | None
    rows: Sequence[CalibrationRow]


def calibrate(pairs: Sequence[tuple[float, bool]]) -> Calibration | None:
    """Calibrate the probabilities of yes; ``None`` unless both yes and no are expected.

    Args:
        pairs: the probability of yes, and whether yes is expected.
    """
    yes_count = sum(is_yes for _, is_yes in pairs)
    if yes_count in {0, len(pairs)}:
        return None
    threshold = find_threshold(pairs)
    low = high = None
    if threshold is not None:
        low, high = _resample_threshold(pairs)
    return Calibration(
        threshold,
        low,
        high,
        None if threshold is None else _decide_all(pairs, threshold),
        [
            _build_row(pairs, low_end, high_end)
            for low_end, high_end in zip((0.0, *_STEPS), (*_STEPS, 2.0), strict=True)
        ],
    )


def _build_row(pairs: Sequence[tuple[float, bool]], low: float, high: float) -> CalibrationRow:
    inside = [is_yes for probability, is_yes in pairs if low <= probability < high]
    return CalibrationRow(low, len(inside), fmean(inside) if inside else None, _decide_all(pairs, low))


def _decide_all(pairs: Sequence[tuple[float, bool]], threshold: float) -> Confusion:
    return count_verdicts([("yes" if probability >= threshold else "no", is_yes) for probability, is_yes in pairs])


def find_threshold(pairs: Sequence[tuple[float, bool]]) -> float | None:
    """Find the threshold with the fewest wrong answers: the middle of the gap between two probabilities.

    If several gaps are equally good, the middle gap is used. ``None`` if always yes or always no is as good.
    """
    ordered = sorted(pairs)
    yes_count = sum(is_yes for _, is_yes in ordered)
    wrong = len(ordered) - yes_count  # as if all answers were yes
    fewest = min(wrong, yes_count)
    gaps: list[tuple[float, float]] = []
    for (below, is_yes), (above, _) in pairwise(ordered):
        wrong += 1 if is_yes else -1
        is_usable = below < above and above >= _MIN_THRESHOLD and below < _MAX_THRESHOLD
        if not is_usable or wrong > fewest:
            continue
        if wrong < fewest:
            fewest, gaps = wrong, []
        gaps.append((below, above))
    if fewest >= min(len(ordered) - yes_count, yes_count):
        return None
    return _round_between(*gaps[len(gaps) // 2])


def _round_between(low: float, high: float) -> float:
    """Return the middle of a gap, with as few digits as keep it between the ends."""
    middle = min(max((low + high) / 2, _MIN_THRESHOLD), _MAX_THRESHOLD)
    rounded = (round(middle, digits) for digits in (2, 3, 4, 6))
    return next((value for value in rounded if low < value <= high and value >= _MIN_THRESHOLD), middle)


def _resample_threshold(pairs: Sequence[tuple[float, bool]]) -> tuple[float | None, float | None]:
    """Find the range of the threshold in most resamples: Efron's bootstrap, with a fixed seed."""
    generator = random.Random(0)  # noqa: S311  # nothing secret
    thresholds = sorted(
        threshold
        for _ in range(_RESAMPLES)
        if (threshold := find_threshold(generator.choices(pairs, k=len(pairs)))) is not None
    )
    if not thresholds:
        return None, None
    margin = int(len(thresholds) * (1 - _COVERED) / 2)
    return thresholds[margin], thresholds[-1 - margin]


# Which variant is good enough


@frozen
class Score:
    """A score from 0 to 1, and its standard error, which is ``None`` for a single image."""

    value: float
    error: float | None


def average(by_image: Mapping[int, float]) -> Score | None:
    """Average the scores of the images. Each image counts equally, however many runs it has."""
    values = list(by_image.values())
    if not values:
        return None
    return Score(fmean(values), stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None)


def find_best(scores: Sequence[Mapping[int, float]]) -> int | None:
    """Find the position of the best score, or the first of equal ones; ``None`` if no score is above 0."""
    means = [average(by_image) for by_image in scores]
    values = [-1.0 if mean is None else mean.value for mean in means]
    return None if not values or max(values) <= 0 else values.index(max(values))


def is_within_error(scores: Mapping[int, float], best: Mapping[int, float]) -> bool:
    """Whether a score is within one standard error of the best: that of the paired differences, image by image.

    Both variants were asked about the same images, and hard images are hard for both. So the mean of the paired differences
    has a smaller error than the difference of the two means. One standard error is the rule of Breiman et al. (1984) for
    choosing the simplest of several models.
    """
    differences = [best[image] - scores[image] for image in best.keys() & scores.keys()]
    if not differences:
        return False
    mean = fmean(differences)
    error = stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else 0.0
    return mean <= error + _TOLERANCE
