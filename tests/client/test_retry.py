"""When to retry, and how long to wait before."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qubrid_cli.client.errors.waits import parse_retry_after
from qubrid_cli.client.retry import Backoff, RetryLimits, full_jitter, half_jitter
from qubrid_cli.errors import EndpointError

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "Mon, 23 Nov 2026 12:00:07 GMT"}, 7.0),
        ({"retry-after": "Mon, 23 Nov 2026 13:00:07 +0100"}, 7.0),
        ({"retry-after": "Mon, 23 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "Monday, 23-Nov-26 12:00:07 GMT"}, 7.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "1e3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "3\x1f"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "99999999999"}, 99999999999.0),
        ({"retry-after-ms": "0", "retry-after": "9"}, 0.0),
        ({"retry-after": "Mon, 23 Nov 99999999999999999999 12:00:00 GMT"}, None),
    ],
)
def test_retry_after_is_read_in_each_form(headers: dict[str, str], seconds: float | None) -> None:
    assert parse_retry_after(headers, NOW) == seconds


@given(text=st.text())
def test_any_retry_after_can_be_read(text: str) -> None:
    seconds = parse_retry_after({"retry-after": text, "retry-after-ms": text}, NOW)
    assert seconds is None or seconds >= 0


def passing(retry_after: float | None = None) -> EndpointError:
    return EndpointError("busy", status=503, is_temporary=True, retry_after=retry_after)


@pytest.mark.parametrize(("attempt", "longest"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (8, 60.0), (30, 60.0)])
def test_waits_grow_up_to_the_longest_with_jitter(attempt: int, longest: float) -> None:
    waits: list[float] = []
    limits = RetryLimits(retries=99)
    wait = limits.compute_wait(passing(), attempt, seconds_left=None, jitter=lambda wait: waits.append(wait) or 0.1)  # type: ignore[func-returns-value]
    assert (wait, waits) == (0.1, [longest])


@given(seconds=st.floats(0, 60))
def test_full_jitter_starts_at_zero_and_half_jitter_at_half(seconds: float) -> None:
    assert 0 <= full_jitter(seconds) <= seconds
    assert seconds / 2 <= half_jitter(seconds) <= seconds


def test_a_backoff_stays_at_its_longest_wait_after_any_number_of_failures() -> None:
    backoff = Backoff(0.1, 30.0, lambda wait: wait)
    assert [backoff.compute_wait(failures) for failures in (1, 2, 3, 10, 10_000)] == [0.1, 0.2, 0.4, 30.0, 30.0]


@given(asked=st.floats(0, 60), number=st.integers(1, 4))
def test_the_wait_is_what_the_server_asks(asked: float, number: int) -> None:
    assert RetryLimits().compute_wait(passing(asked), number, seconds_left=None) == asked


def test_a_permanent_error_is_raised_unchanged() -> None:
    error = EndpointError("no", status=400)
    with pytest.raises(EndpointError) as caught:
        RetryLimits().compute_wait(error, 1, seconds_left=None)
    assert caught.value is error


@pytest.mark.parametrize(("number", "retries"), [(1, 0), (5, 4)])
def test_the_last_failure_is_raised_unchanged(number: int, retries: int) -> None:
    error = passing()
    with pytest.raises(EndpointError) as caught:
        RetryLimits(retries=retries).compute_wait(error, number, seconds_left=None)
    assert caught.value is error


@pytest.mark.parametrize(
    ("asked", "left", "why"),
    [
        (61.0, None, "busy (it asks to wait 61 s, longer than --retry-max-wait)"),
        (5.0, 5.0, "busy (--max-time would be over before the retry)"),
    ],
)
def test_a_wait_that_is_too_long_raises_the_error(asked: float, left: float | None, why: str) -> None:
    with pytest.raises(EndpointError) as caught:
        RetryLimits().compute_wait(passing(asked), 1, seconds_left=left)
    assert (caught.value.message, caught.value.status) == (why, 503)
