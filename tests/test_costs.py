"""Costs: what the server reports, else the user's prices times the server's tokens."""

from typing import Any

import pytest

from qubrid_cli.metrics import Cost, Price, compute_cost, find_cost, parse_server_cost

PRICES = {"asked": Price(0.25, 0.44), "said": Price(1.0, 2.0), "half": Price(0.25)}
USAGE = {"prompt_tokens": 2540, "completion_tokens": 48, "total_tokens": 2588}


@pytest.mark.parametrize(
    ("asked", "said", "found"),
    [
        ("asked", "said", Cost(0.00065612)),
        ("other", "said", Cost(0.002636)),
        ("asked", None, Cost(0.00065612)),
        ("half", "other", None),
        ("other", "other", None),
        (None, None, None),
    ],
)
def test_the_price_is_that_of_the_requested_model_else_of_the_servers(
    asked: str | None, said: str | None, found: Cost | None
) -> None:
    assert compute_cost(PRICES, asked, said, USAGE) == found


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens": 1},
        {"completion_tokens": 1},
        {"prompt_tokens": "1", "completion_tokens": 1},
        {"prompt_tokens": -1, "completion_tokens": 1},
        {"prompt_tokens": 10**400, "completion_tokens": 1},
    ],
)
def test_without_a_valid_usage_there_is_no_cost(usage: dict[str, Any] | None) -> None:
    assert compute_cost(PRICES, "asked", None, usage) is None


def test_a_price_of_zero_is_a_cost_of_zero() -> None:
    assert compute_cost({"free": Price(0.0, 0.0)}, "free", None, USAGE) == Cost(0.0)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0.0, "$0.00"),
        (12.345, "$12.35"),
        (0.00121, "$0.0012"),
        (0.0649, "$0.0649"),
        (0.00065612, "$0.00066"),
        (0.0000001, "$0.00000010"),
    ],
)
def test_a_cost_is_readable(amount: float, text: str) -> None:
    assert str(Cost(amount)) == text


@pytest.mark.parametrize(
    ("usage", "further", "amount"),
    [
        ({"cost": 0.0012}, (), 0.0012),
        ({"cost": 0}, (), 0.0),
        ({"cost": "0.0012"}, (), 0.0012),
        ({"cost": "3.45e-05"}, (), 0.0000345),
        ({"cost": {"input_tokens_cost": 0.1, "total_cost": 0.3}}, (), 0.3),
        ({"estimated_cost": 0.002}, (), 0.002),
        ({"total_cost": 0.002}, (), 0.002),
        ({"cost_in_usd_ticks": 318_319_000}, (), 0.0318319),
        ({"cost": 0.05, "is_byok": True, "cost_details": {"upstream_inference_cost": 1}}, (), 1.05),
        ({"cost": 0.05, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.05}}, (), 0.05),
        ({"cost": 0.05, "is_byok": True, "cost_details": None}, (), 0.05),
        ({"prompt_tokens": 1}, (None, 0.4), 0.4),
        (None, ("0.4",), 0.4),
        ({"cost": 0.1}, (0.4,), 0.1),
        ({"cost": -1}, (0.4,), 0.4),
    ],
)
def test_the_cost_is_found_where_a_provider_reports_it(
    usage: dict[str, Any] | None, further: tuple[object, ...], amount: float
) -> None:
    assert parse_server_cost(usage, *further) == pytest.approx(amount, abs=1e-12)


@pytest.mark.parametrize(
    "value", [-0.01, 1e6, 10**400, True, "free", "NaN", "1,5", "", [0.1], {}, {"total_cost": None}, None]
)
def test_a_cost_that_makes_no_sense_is_not_one(value: object) -> None:
    assert parse_server_cost({"cost": value}, value) is None
    assert find_cost(PRICES, "asked", None, {**USAGE, "cost": value}, value) == Cost(0.00065612)


def test_the_servers_cost_comes_before_the_users_prices() -> None:
    assert find_cost(PRICES, "asked", None, {**USAGE, "cost": 0.5}) == Cost(0.5, source="server")
    assert find_cost({}, None, None, USAGE) is None
