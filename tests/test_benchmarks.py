"""The ratios and tables of the benchmarks; the benchmarks themselves are run by hand."""

import sys

import pytest

from .benchmarks.pairs import Ratio, TooFewError, cost, table


@pytest.mark.parametrize("count", [0, 1, 4])
def test_a_ratio_needs_five_pairs(count: int) -> None:
    with pytest.raises(TooFewError):
        Ratio("a, of b", [1.0] * count)


def test_a_ratio_is_the_median_of_its_pairs_with_their_spread() -> None:
    assert Ratio("a, of b", [9.0, 0.5, 0.75, 1.0, 0.7], 0.8).cells == ("a, of b", "0.75", "≤ 0.8", "0.50 – 9.00", "5")


def test_the_table_is_one_in_markdown() -> None:
    assert table([Ratio("a, of b", [0.5] * 5)]).splitlines() == [
        "|         | ratio | target | spread      | pairs |",
        "| ------- | ----- | ------ | ----------- | ----- |",
        "| a, of b | 0.50  |        | 0.50 – 0.50 | 5     |",
    ]


def test_the_cost_of_a_program_counts_what_it_starts() -> None:
    busy = "import time\nwhile time.process_time() < 0.2: pass"
    starts = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])"
    assert cost([sys.executable, "-c", starts], {}).cpu > 0.2


def test_a_program_that_fails_has_no_cost() -> None:
    with pytest.raises(AssertionError):
        cost([sys.executable, "-c", "raise SystemExit(3)"], {})
