"""Costs: the user's prices times the server's tokens."""

from typing import Any

import pytest

from qubrid_cli.metrics import Cost, Price, compute_cost

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
