"""How right answers are, the threshold for probabilities, and which variant is good enough."""

import random
from typing import Any

import pytest

from qubrid_cli.bench import scores
from qubrid_cli.bench.figures import Distribution, measure_distribution


@pytest.mark.parametrize(
    ("answer", "expected", "exact", "f1"),
    [
        ("Dog.", "dog", 1, 1),
        ("The  DOG", "a dog", 1, 1),
        ("It is a dog", "dog", 0, 0.5),
        ("a red car", "a blue car", 0, 0.5),
        ("cat", "dog", 0, 0),
        ("", "dog", 0, 0),
        ("the", "a", 0, 0),
        ("1,234.50", 1234.5, 1, 1),
        ("12", "12.0", 1, 1),
        ("12.", 12, 1, 1),
        ("13", 12, 0, 0),
        ("twelve", 12, 0, 0),
        ("12 dogs", 12, 0, 2 / 3),
        ("ＤＯＧ", "dog", 1, 1),
        ("猫です", "猫", 0, 0.5),
        (True, "yes", 1, 1),
        ({"total": "12.50", "shop": "ALDI", "date": None}, {"total": 12.5, "shop": "Aldi"}, 1, 1),
        ({"total": 12}, {"total": 12, "shop": "Aldi"}, 0, 0.5),
        ({"n": 3}, 3, 1, 1),
        ({"tags": ["b", "a"]}, {"tags": ["a", "b"]}, 1, 1),
        (["a"], ["a", "b"], 0, 2 / 3),
        (None, {"n": 1}, 0, 0),
        ({}, {}, 1, 1),
    ],
)
def test_an_answer_is_compared_by_its_words_its_number_or_its_keys(
    answer: Any, expected: Any, exact: float, f1: float
) -> None:
    score = scores.score_answer(answer, expected)
    assert score.exact == exact
    assert score.f1 == pytest.approx(f1)


@pytest.mark.parametrize(
    ("pairs", "threshold"),
    [
        ("0.1- 0.3- 0.8+ 0.9+", 0.55),
        ("0.10- 0.30- 0.31+ 0.90+", 0.305),
        ("0.1- 0.2+ 0.3- 0.8+ 0.9+ 0.15-", 0.55),  # as few are wrong as with 0.18
        ("0.9980+ 0.9991- 0.9999+ 0.9998+ 0.1-", 0.55),  # --threshold is at most 0.999
        ("0.0001- 0.0002+ 0.0003+ 0.0004-", None),
        ("0.2+ 0.3- 0.4-", None),  # the wrong way round
        ("0.5+ 0.5- 0.5-", None),
        ("0.2- 0.4+ 0.4- 0.4+", 0.3),
    ],
)
def test_the_threshold_has_the_fewest_wrong_answers(pairs: str, threshold: float | None) -> None:
    read = [(float(pair[:-1]), pair[-1] == "+") for pair in pairs.split()]
    found = scores.find_threshold(read)
    assert found == (None if threshold is None else pytest.approx(threshold, abs=0.006))


@pytest.mark.parametrize("threshold", [0.15, 0.35, 0.5, 0.7, 0.92])
def test_the_threshold_of_a_simulated_model_is_found(threshold: float) -> None:
    """One of ten labels is wrong."""
    dice = random.Random(3)
    stated = [dice.random() for _ in range(200)]
    pairs = [(p, (p >= threshold) is not (dice.random() < 0.1)) for p in stated]
    calibration = scores.calibrate(pairs)
    assert calibration is not None
    assert calibration.threshold == pytest.approx(threshold, abs=0.05)
    assert (calibration.low or 1) <= (calibration.threshold or 0) <= (calibration.high or 0)
    assert calibration == scores.calibrate(pairs)


def test_the_calibration_table_says_what_follows_from_each_threshold() -> None:
    calibration = scores.calibrate([(0.05, False), (0.45, True), (0.42, False), (0.9, True), (1.0, True)])
    assert calibration is not None
    row = calibration.rows[4]
    assert [row.answers for row in calibration.rows] == [1, 0, 0, 0, 2, 0, 0, 0, 0, 2]
    assert (row.threshold, row.yes_share) == (0.4, 0.5)
    assert (row.confusion.precision, row.confusion.recall, row.confusion.accuracy) == (0.75, 1.0, 0.8)
    assert calibration.rows[1].yes_share is None


@pytest.mark.parametrize("pairs", [[], [(0.9, True)], [(0.1, False), (0.9, False)]])
def test_without_both_answers_there_is_no_calibration(pairs: list[tuple[float, bool]]) -> None:
    assert scores.calibrate(pairs) is None


def test_an_unsure_answer_is_neither_right_nor_a_yes() -> None:
    verdicts = [("yes", True), ("unsure", True), ("unsure", False), ("no", False), ("yes", False), ("no", True)]
    confusion = scores.count_verdicts(verdicts)
    assert (confusion.accuracy, confusion.precision, confusion.recall) == (2 / 6, 1 / 2, 1 / 3)


@pytest.mark.parametrize(
    "wrong",
    [(), (4,), (4, 5), (4, 5, 6)],
)
def test_a_variant_with_one_more_wrong_answer_is_good_enough_and_one_with_two_more_is_not(
    wrong: tuple[int, ...],
) -> None:
    best = dict.fromkeys(range(10), 1.0)
    scored = {image: float(image not in wrong) for image in range(10)}
    assert scores.is_within_error(scored, best) is (len(wrong) < 2)


@pytest.mark.parametrize(
    ("values", "distribution"),
    [
        ([0.41], Distribution(0.41, 0.41, 0.41)),
        ([3, None, 1, 2], Distribution(1, 2, 3)),
        (range(1, 101), Distribution(1, 50, 95)),
        ([4, 1, 3, 2], Distribution(1, 2, 4)),
        ([None], None),
    ],
)
def test_percentiles_are_values_that_were_measured(values: list[float | None], distribution: Distribution) -> None:
    assert measure_distribution(values) == distribution
