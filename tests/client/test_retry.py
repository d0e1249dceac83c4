"""When to ask again, and how long to wait before."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qubrid_cli.client.retry import Backoff, RetryLimits, parse_retry_after
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
def test_what_a_server_asks_for_is_understood(headers: dict[str, str], seconds: float | None) -> None:
    assert parse_retry_after(headers, NOW) == seconds


@given(text=st.text())
def test_nothing_that_a_server_asks_for_is_a_fault_of_ours(text: str) -> None:
    seconds = parse_retry_after({"retry-after": text, "retry-after-ms": text}, NOW)
    assert seconds is None or seconds >= 0


def passing(retry_after: float | None = None) -> EndpointError:
    return EndpointError("busy", status=503, is_temporary=True, retry_after=retry_after)


@pytest.mark.parametrize(("number", "longest"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (8, 60.0), (30, 60.0)])
def test_pauses_grow_up_to_the_longest_with_full_jitter(number: int, longest: float) -> None:
    spans: list[tuple[float, float]] = []
    pauses = Backoff(RetryLimits(retries=99), jitter=lambda low, high: spans.append((low, high)) or 0.1)  # type: ignore[func-returns-value]
    assert (pauses.compute_wait(passing(), number, left=None), spans) == (0.1, [(0.0, longest)])


@given(asked=st.floats(0, 60), number=st.integers(1, 4))
def test_a_server_is_given_what_it_asks_for(asked: float, number: int) -> None:
    assert Backoff(RetryLimits()).compute_wait(passing(asked), number, left=None) == asked


def test_what_stays_is_raised_as_it_is() -> None:
    error = EndpointError("no", status=400)
    with pytest.raises(EndpointError) as caught:
        Backoff(RetryLimits()).compute_wait(error, 1, left=None)
    assert caught.value is error


@pytest.mark.parametrize(("number", "retries"), [(1, 0), (5, 4)])
def test_the_last_failure_is_raised_as_it_is(number: int, retries: int) -> None:
    error = passing()
    with pytest.raises(EndpointError) as caught:
        Backoff(RetryLimits(retries=retries)).compute_wait(error, number, left=None)
    assert caught.value is error


@pytest.mark.parametrize(
    ("asked", "left", "why"),
    [
        (61.0, None, "busy (it asks to wait 61 s, longer than --retry-max-wait)"),
        (5.0, 5.0, "busy (--max-time is over before it can be asked again)"),
    ],
)
def test_a_pause_that_is_too_long_is_no_pause(asked: float, left: float | None, why: str) -> None:
    with pytest.raises(EndpointError) as caught:
        Backoff(RetryLimits()).compute_wait(passing(asked), 1, left=left)
    assert (caught.value.message, caught.value.status) == (why, 503)
