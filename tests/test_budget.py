"""What a run may take: when it is stopped, and what counts."""

from typing import Any

import pytest

from qubrid_cli.budget import Allowance, Budget, Limits, allowance, tokens
from qubrid_cli.errors import UsageError


def answer(asked: int = 100, said: int = 20, cost: float | None = None) -> dict[str, Any]:
    usage = {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}
    return {"usage": usage, "cost": None if cost is None else {"amount": cost, "currency": "USD"}}


def spent(limits: Limits, *answers: dict[str, Any]) -> Budget:
    budget = Budget(limits)
    for one in answers:
        budget.take(one)
    return budget


def test_a_run_without_limits_is_never_stopped() -> None:
    assert spent(Limits(), *[answer(cost=1e6)] * 100).reached(1e9, 64) is None


@pytest.mark.parametrize(
    ("answers", "in_flight", "is_over"), [(3, 0, False), (4, 0, True), (2, 1, False), (3, 1, True), (0, 9, False)]
)
def test_what_is_on_its_way_counts_with_the_mean_of_what_is_back(answers: int, in_flight: int, is_over: bool) -> None:  # noqa: FBT001
    """Four answers of 0.50 are paid for, no fifth one."""
    budget = spent(Limits(cost=2.0), *[answer(cost=0.5)] * answers)
    assert (budget.reached(0.0, in_flight) is not None) == is_over


def test_the_option_that_stops_it_is_named() -> None:
    half = answer(cost=0.5)
    assert [
        spent(limits, half).reached(9.0, 0)
        for limits in (Limits(cost=0.75), Limits(tokens=200), Limits(seconds=9.0), Limits(cost=1.0, tokens=240))
    ] == ["--max-cost 0.75", "--max-tokens-total 200", "--max-time 9", None]


def test_requests_without_a_count_of_tokens_change_no_mean() -> None:
    budget = spent(
        Limits(), {"usage": None, "cost": None}, answer(said=20), answer(said=40), {"usage": {}, "cost": None}
    )
    assert (budget.answer_tokens, budget.tokens) == (30, 260)


@pytest.mark.parametrize(
    ("usage", "total"),
    [
        (None, None),
        ({}, None),
        ({"total_tokens": 7}, 7),
        ({"prompt_tokens": 5, "completion_tokens": 2}, 7),
        ({"prompt_tokens": 5}, 5),
        ({"total_tokens": "many", "prompt_tokens": True}, None),
        ({"total_tokens": -7}, 0),
    ],
)
def test_tokens_are_counted_as_far_as_the_server_says(usage: dict[str, Any] | None, total: int | None) -> None:
    assert tokens(usage) == total


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0", Allowance(count=0)),
        ("20", Allowance(count=20)),
        ("5%", Allowance(percent=5)),
        ("0.5%", Allowance(percent=0.5)),
    ],
)
def test_failures_are_allowed_by_number_or_share(text: str, found: Allowance) -> None:
    assert allowance(text) == found


@pytest.mark.parametrize("text", ["", "-1", "5 %", "101%", "1e3", "five", "%", "٣"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--max-failures"):
        allowance(text)


def test_a_share_counts_from_twenty_images_on() -> None:
    half = Allowance(percent=50)
    assert [half.is_exceeded(failed, finished) for failed, finished in ((19, 19), (10, 20), (11, 20))] == [
        False,
        False,
        True,
    ]
