"""What a run may take: when it is stopped, and what counts."""

from typing import Any

import pytest

from qubrid_cli.budget import Allowance, Budget, Limits, allowance, tokens
from qubrid_cli.costs import Price
from qubrid_cli.errors import UsageError


def answer(
    asked: int = 100, said: int = 20, cost: float | None = None, *, text: str = "A lighthouse.", counts: bool = True
) -> dict[str, Any]:
    usage = {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}
    amount = None if cost is None else {"amount": cost, "currency": "USD"}
    return {"ok": True, "text": text, "reasoning": None, "usage": usage if counts else None, "cost": amount}


NOTHING = {"ok": False, "text": "", "reasoning": None, "usage": None, "cost": None}
PRICE = Price(input=10.0, output=20.0)


def spent(limits: Limits, *answers: dict[str, Any], price: Price | None = None) -> Budget:
    budget = Budget(limits, price=price, max_tokens=500)
    for one in answers:
        budget.take(one)
    return budget


def test_a_run_without_limits_is_never_stopped() -> None:
    budget = spent(Limits(), *[answer(cost=1e6)] * 100)
    assert (budget.is_over(1e9), budget.reached(10**9), budget.is_taken_up(10**9, 64)) == (None, None, False)


@pytest.mark.parametrize(
    ("answers", "in_flight", "is_over", "waits"),
    [(3, 0, False, False), (4, 0, True, False), (2, 1, False, False), (3, 1, False, True), (1, 9, False, True)],
)
def test_what_is_on_its_way_counts_with_the_dearest_of_what_is_back(
    *, answers: int, in_flight: int, is_over: bool, waits: bool
) -> None:
    """Four answers of up to 0.50 are paid for, no fifth one; with one too many on their way, one waits for them."""
    budget = spent(Limits(cost=2.0), *[answer(cost=0.5)] * answers)
    assert (budget.reached(1) is not None, is_over or budget.is_taken_up(1, in_flight)) == (is_over, is_over or waits)


def test_before_the_first_answer_one_may_go_and_others_if_there_is_room_for_long_answers() -> None:
    small, large = (spent(Limits(cost=cost), price=PRICE) for cost in (0.012, 0.1))
    assert (small.reached(100), small.is_taken_up(100, 0), small.is_taken_up(100, 1)) == (None, False, True)
    assert [large.is_taken_up(100, in_flight) for in_flight in (7, 8, 9)] == [False, False, True]  # of 0.011 each


def test_no_money_buys_nothing() -> None:
    assert spent(Limits(cost=0.0), price=PRICE).reached(0) == "--max-cost 0"


def test_asking_alone_may_cost_too_much() -> None:
    assert spent(Limits(cost=0.001), price=PRICE).reached(2_562) == "--max-cost 0.001"


def test_the_option_that_stops_it_is_named() -> None:
    half = answer(cost=0.5)
    assert spent(Limits(seconds=9.0), half).is_over(9.0) == "--max-time 9"
    assert [
        spent(limits, half).reached(1)
        for limits in (Limits(cost=0.75), Limits(tokens=200), Limits(cost=1.0, tokens=240))
    ] == ["--max-cost 0.75", "--max-tokens-total 200", None]


def test_requests_that_nothing_came_of_take_nothing_and_change_no_mean() -> None:
    budget = spent(Limits(), NOTHING, answer(said=20), answer(said=40), NOTHING)
    assert (budget.answer_tokens, budget.spent.tokens, budget.spent.is_estimate) == (30, 260, False)


def test_an_answer_that_failed_in_the_end_was_paid_for() -> None:
    assert spent(Limits(), {**answer(100, 20), "ok": False}).spent.tokens == 120


def test_where_the_server_does_not_count_it_is_estimated() -> None:
    budget = Budget(Limits(cost=0.018), price=PRICE)
    budget.take(answer(text="x" * 400, counts=False), 700)
    found = budget.spent
    assert (found.asked, found.written, found.cost, found.is_estimate) == (700, 100, 0.009, True)
    budget.take({**NOTHING, "ok": True, "usage": {"total_tokens": 50}}, 700)
    assert (found.tokens, budget.reached(700)) == (850, "--max-cost 0.018")


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
