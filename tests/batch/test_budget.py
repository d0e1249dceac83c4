"""What a run may take: when it is stopped, and what counts."""

from typing import Any

import pytest

from qubrid_cli.batch.budget import Budget, BudgetLimits, FailureLimit, count_tokens, parse_failure_limit
from qubrid_cli.errors import EndpointError, IncompleteAnswerError, QvisionError, SchemaMismatchError, UsageError
from qubrid_cli.metrics import Price


def answer(
    asked: int = 100, said: int = 20, cost: float | None = None, *, text: str = "A lighthouse.", counts: bool = True
) -> dict[str, Any]:
    usage = {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}
    amount = None if cost is None else {"amount": cost, "currency": "USD"}
    return {"ok": True, "text": text, "reasoning": None, "usage": usage if counts else None, "cost": amount}


NOTHING = {"ok": False, "text": "", "reasoning": None, "usage": None, "cost": None}
PRICE = Price(input=10.0, output=20.0)


def spent(limits: BudgetLimits, *answers: dict[str, Any], price: Price | None = None) -> Budget:
    budget = Budget(limits, price=price, max_tokens=500)
    for one in answers:
        budget.record_request(one, 100)
    return budget


def test_a_run_without_limits_is_never_stopped() -> None:
    budget = spent(BudgetLimits(), *[answer(cost=1e6)] * 100)
    assert (
        budget.find_exceeded_time_limit(1e9),
        budget.find_limit_for_next_request(10**9),
        budget.is_reserved(10**9, 64),
    ) == (None, None, False)


@pytest.mark.parametrize(
    ("answers", "in_flight", "is_over", "waits"),
    [(3, 0, False, False), (4, 0, True, False), (2, 1, False, False), (3, 1, False, True), (1, 9, False, True)],
)
def test_what_is_on_its_way_counts_with_the_dearest_of_what_is_back(
    *, answers: int, in_flight: int, is_over: bool, waits: bool
) -> None:
    """Four answers of up to 0.50 are paid for, no fifth one; with one too many on their way, one waits for them."""
    budget = spent(BudgetLimits(cost=2.0), *[answer(cost=0.5)] * answers)
    assert (budget.find_limit_for_next_request(1) is not None, is_over or budget.is_reserved(1, in_flight)) == (
        is_over,
        is_over or waits,
    )


def test_before_the_first_answer_one_may_go_and_others_if_there_is_room_for_long_answers() -> None:
    small, large = (spent(BudgetLimits(cost=cost), price=PRICE) for cost in (0.012, 0.1))
    assert (small.find_limit_for_next_request(100), small.is_reserved(100, 0), small.is_reserved(100, 1)) == (
        None,
        False,
        True,
    )
    assert [large.is_reserved(100, in_flight) for in_flight in (7, 8, 9)] == [False, False, True]  # of 0.011 each


def test_no_money_buys_nothing() -> None:
    assert spent(BudgetLimits(cost=0.0), price=PRICE).find_limit_for_next_request(0) == "--max-cost 0"
    assert spent(BudgetLimits(cost=0.0)).find_limit_for_next_request(0) == "--max-cost 0"


def test_without_a_price_one_request_finds_out_whether_the_server_reports_its_cost() -> None:
    limits = BudgetLimits(cost=2.0)
    unknown, without, reported = spent(limits), spent(limits, answer()), spent(limits, answer(cost=0.75))
    budgets = (unknown, without, reported, spent(BudgetLimits(), answer()))
    assert [budget.find_missing_price("m") is not None for budget in budgets] == [False, True, False, False]
    assert (unknown.find_limit_for_next_request(1), unknown.is_reserved(1, 0), unknown.is_reserved(1, 1)) == (
        None,
        False,
        True,
    )
    assert (reported.is_reserved(1, 0), reported.is_reserved(1, 1)) == (False, True)


def test_an_answer_without_a_cost_counts_as_much_as_the_dearest_one() -> None:
    usage = spent(BudgetLimits(), answer(cost=0.5), answer(cost=0.25), answer()).usage
    assert (usage.cost, usage.is_estimated) == (1.25, True)


def test_asking_alone_may_cost_too_much() -> None:
    assert spent(BudgetLimits(cost=0.001), price=PRICE).find_limit_for_next_request(2_562) == "--max-cost 0.001"


def test_the_option_that_stops_it_is_named() -> None:
    half = answer(cost=0.5)
    assert spent(BudgetLimits(seconds=9.0), half).find_exceeded_time_limit(9.0) == "--max-time 9"
    assert [
        spent(limits, half).find_limit_for_next_request(1)
        for limits in (BudgetLimits(cost=0.75), BudgetLimits(tokens=200), BudgetLimits(cost=1.0, tokens=240))
    ] == ["--max-cost 0.75", "--max-tokens-total 200", None]


def test_requests_that_nothing_came_of_take_nothing_and_change_no_mean() -> None:
    budget = spent(BudgetLimits(), NOTHING, answer(said=20), answer(said=40), NOTHING)
    assert (budget.mean_output_tokens, budget.usage.total_tokens, budget.usage.is_estimated) == (30, 260, False)


def test_an_answer_that_failed_in_the_end_was_paid_for() -> None:
    assert spent(BudgetLimits(), {**answer(100, 20), "ok": False}).usage.total_tokens == 120


def test_where_the_server_does_not_count_it_is_estimated() -> None:
    budget = Budget(BudgetLimits(cost=0.018), price=PRICE)
    budget.record_request(answer(text="x" * 400, counts=False), 700)
    found = budget.usage
    assert (found.input_tokens, found.output_tokens, found.cost, found.is_estimated) == (700, 100, 0.009, True)
    budget.record_request({**NOTHING, "ok": True, "usage": {"total_tokens": 50}}, 700)
    assert (found.total_tokens, budget.find_limit_for_next_request(700)) == (850, "--max-cost 0.018")


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
    assert count_tokens(usage) == total


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0", FailureLimit(count=0)),
        ("20", FailureLimit(count=20)),
        ("5%", FailureLimit(percent=5)),
        ("0.5%", FailureLimit(percent=0.5)),
    ],
)
def test_failures_are_allowed_by_number_or_share(text: str, found: FailureLimit) -> None:
    assert parse_failure_limit(text) == found


@pytest.mark.parametrize("text", ["", "-1", "5 %", "101%", "1e3", "five", "%", "٣"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--max-failures"):
        parse_failure_limit(text)


def test_a_share_counts_from_twenty_images_on() -> None:
    half = FailureLimit(percent=50)
    assert [half.is_exceeded(failed, finished) for failed, finished in ((19, 19), (10, 20), (11, 20))] == [
        False,
        False,
        True,
    ]


REFUSED, DENIED = EndpointError("no", code="bad_image", status=400), EndpointError("no", status=403)
DECLINED = EndpointError("no", code="content_policy", status=400)
EMPTY = IncompleteAnswerError("nothing", code="empty_answer")


@pytest.mark.parametrize(
    ("errors", "stops_at"),
    [
        ([REFUSED] * 60, 20),
        ([EMPTY] * 60, 20),
        ([SchemaMismatchError("no")] * 60, 20),
        ([None, *[DENIED] * 60], 21),
        ([*[REFUSED] * 19, None] * 3, None),
        ([*[REFUSED] * 10, *[DENIED] * 10] * 3, None),
        ([EndpointError("no", code="bad_image", status=status) for status in (400, 422)] * 30, None),
        ([DECLINED] * 60, 20),
        ([None, *[DECLINED] * 60], None),
        ([None, *[DENIED, DECLINED] * 30], 40),
    ],
)
def test_twenty_failures_in_a_row_of_one_kind_are_not_the_fault_of_the_images(
    errors: list[QvisionError | None], stops_at: int | None
) -> None:
    """Content rules are, once an image has passed them."""
    for limits, expected in ((BudgetLimits(), stops_at), (BudgetLimits(failures=FailureLimit(percent=100)), None)):
        budget = Budget(limits)
        stopped = (number for number, error in enumerate(errors, 1) if budget.record_and_check_last_failures(error))
        assert next(stopped, None) == expected
