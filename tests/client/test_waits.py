"""How long servers ask to wait: in headers, in fields of the body, in the text."""

from datetime import UTC, datetime

import pytest

from qubrid_cli.client.errors import waits

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-ratelimit-reset": "1795435260000", "x-ratelimit-remaining": "0"}, 60.0),  # OpenRouter
        ({"x-ratelimit-reset": "1795435260"}, 60.0),
        ({"x-ratelimit-reset": "30"}, 30.0),
        ({"ratelimit-reset": "30", "ratelimit-remaining": "1"}, None),
        ({"x-ratelimit-reset": "1600000000"}, 0.0),
        ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-remaining-requests": "0"}, 360.0),  # OpenAI
        ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-remaining-requests": "4"}, None),
        ({"x-ratelimit-reset-requests": "6m0s"}, None),
        (
            {
                "x-ratelimit-reset-requests": "17ms",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "1s",
                "x-ratelimit-remaining-tokens": "0",
            },
            1.0,
        ),
        (
            {
                "anthropic-ratelimit-input-tokens-reset": "2026-11-23T12:00:09Z",
                "anthropic-ratelimit-input-tokens-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2026-11-23T12:01:00Z",
                "anthropic-ratelimit-requests-remaining": "49",
            },
            9.0,
        ),
        ({"ratelimit": '"minute";r=0;t=30, "day";r=7;t=4000'}, 30.0),
        ({"x-ratelimit-reset": "soon"}, None),
        ({}, None),
    ],
)
def test_the_reset_of_a_limit_that_is_used_up_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert waits.parse_limit_reset(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Please try again in 1.2s.", 1.2),
        ("Please try again in 20ms. Visit", 0.02),
        ("Please try again in 6m0s.", 360.0),
        ("Please try again in 9m38.4s", 578.4),
        ("try again after 1 seconds", 1.0),
        ("Please retry after 60 seconds.", 60.0),
        ("Please retry in 32.638054576s.", 32.638054576),
        ("Please wait 12 seconds before retrying", 12.0),
        ("The limit resets in 3 hours and 20 minutes", 12_000.0),
        ("Try again in about 2 days", 172_800.0),
        ("You will regain access on 2026-11-24 at 00:00 UTC.", 43_200.0),
        ("The limit resets at 2026-11-23T12:00:30Z", 30.0),
        ("Your limit will reset at 2026-11-24 00:00:00", None),  # in which zone?
        ("You will regain access on 2026-19-99 at 00:00 UTC.", None),
        ("The server waited 30 seconds for the image.", None),
        ("Images may be 30 seconds old, try again", None),
    ],
)
def test_a_sentence_says_how_long_to_wait(text: str, seconds: float | None) -> None:
    assert waits.parse_text(text, NOW) == seconds


@pytest.mark.parametrize(
    ("name", "value", "seconds"),
    [
        ("retryDelay", "32s", 32.0),
        ("retryDelay", "0.5s", 0.5),
        ("retry_after", 7, 7.0),
        ("retry_after_ms", "1500", 1.5),
        ("retry_after", None, None),
        ("retry_after", True, None),
        ("retry_after", "soon", None),
        ("size", 7, None),
    ],
)
def test_a_field_of_the_body_says_how_long_to_wait(name: str, value: object, seconds: float | None) -> None:
    assert waits.parse_field(name, value) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (59, "59 s"),
        (60, "1 min"),
        (578, "9 min 38 s"),
        (3600, "1 h"),
        (90_061, "1 d 1 h"),
        (86_401, "1 d"),
    ],
)
def test_a_wait_is_shown_with_its_largest_units(seconds: float, text: str) -> None:
    assert waits.format_wait(seconds) == text
