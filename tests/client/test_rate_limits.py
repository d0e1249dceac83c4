"""The limits in the headers of responses, as servers send them."""

from datetime import UTC, datetime

import pytest

from qubrid_cli.client.rate_limits import RateLimit, parse_limits

NOW = datetime(2026, 11, 29, 6, 0, 0, tzinfo=UTC)
OPENAI = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-limit-tokens": "150000",
    "x-ratelimit-remaining-requests": "59",
    "x-ratelimit-remaining-tokens": "149984",
    "x-ratelimit-reset-requests": "1s",
    "x-ratelimit-reset-tokens": "6m0s",
}
ANTHROPIC = {
    "anthropic-ratelimit-requests-limit": "50",
    "anthropic-ratelimit-requests-remaining": "0",
    "anthropic-ratelimit-requests-reset": "2026-11-29T06:01:00Z",
}


@pytest.mark.parametrize(
    ("headers", "limits"),
    [
        (OPENAI, [RateLimit("requests", 60, 59, 1.0), RateLimit("tokens", 150_000, 149_984, 360.0)]),
        (ANTHROPIC, [RateLimit("requests", 50, 0, 60.0)]),
        (
            {"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "12ms"},  # without the limit
            [RateLimit("requests", 4, 3, 0.012)],
        ),
        ({"x-ratelimit-remaining-requests": "3", "x-ratelimit-limit-requests": "10"}, []),  # Azure: no reset
        ({"x-ratelimit-remaining-requests": "-1", "x-ratelimit-reset-requests": "1s"}, []),
        ({"x-ratelimit-remaining-requests": "10", "x-ratelimit-limit-requests": "10"}, []),
        (
            {**OPENAI, "x-ratelimit-remaining-requests": "60", "x-ratelimit-remaining-tokens": "150000"},
            [],  # nothing is used
        ),
        ({}, []),
    ],
)
def test_limits_are_read_from_headers(headers: dict[str, str], limits: list[RateLimit]) -> None:
    assert list(parse_limits(headers, NOW)) == limits
