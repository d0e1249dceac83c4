"""How fast to ask, with a clock of the test's own: nothing here waits."""

from collections import deque
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qubrid_cli.batch.pace.capacity import Capacity
from qubrid_cli.batch.pace.limits import PerMinuteLimit
from qubrid_cli.batch.rate import FailureKind, InFlightRequest, RateLimiter, classify_failure
from qubrid_cli.client.rate_limits import RateLimit
from qubrid_cli.errors import (
    EndpointError,
    IncompleteAnswerError,
    NetworkError,
    QvisionError,
    SchemaMismatchError,
    UnreachableError,
)


def longest_wait(seconds: float) -> float:
    """A jitter that always picks the longest wait."""
    return seconds


def gate(limit: int = 64, *, rpm: int | None = None, tpm: int | None = None) -> RateLimiter:
    """A gate that always pauses for the longest time that it might."""
    return RateLimiter(limit, rpm=rpm, tpm=tpm, jitter=longest_wait)


@given(st.integers(1, 600), st.lists(st.floats(0, 5), min_size=1, max_size=300))
def test_never_more_than_the_rate_goes_in_any_minute(per_minute: int, gaps: list[float]) -> None:
    rate, now, sent = PerMinuteLimit(per_minute), 0.0, deque[float]()
    for gap in gaps:
        now += gap
        now += rate.seconds_until_free(now)
        rate.spend(now, 1)
        while sent and sent[0] <= now - 60 + 1e-6:
            sent.popleft()
        sent.append(now)
        assert len(sent) <= per_minute


def test_requests_a_minute_are_spread_evenly() -> None:
    limited, now, sent = gate(rpm=60), 0.0, []
    for image in range(5):
        now += limited.seconds_until_allowed(now)
        limited.start_request(now, image, 10)
        sent.append(now)
    assert [later - earlier for earlier, later in pairwise(sent)] == [1.0] * 4


def test_each_request_about_an_image_counts_towards_the_rate() -> None:
    limited = gate(rpm=60)
    sent = limited.start_request(0.0, 1, 10)
    limited.record_further_requests(2)
    limited.record_success(sent, 0.5, None)
    assert limited.seconds_until_allowed(0.5) == 2.5


def test_limits_that_responses_report_are_kept() -> None:
    """A bucket of 10 that gets one a second: 3 are left after a request, and 2 were sent since."""
    limited = gate()
    first, *_ = [limited.start_request(0.0, image, 100) for image in range(3)]
    limited.record_limits(first, [RateLimit("requests", capacity=10, remaining=3, reset=7.0)])
    assert limited.seconds_until_allowed(0.0) == 0
    limited.start_request(0.0, 4, 100)
    assert limited.seconds_until_allowed(0.0) == pytest.approx(1.0)
    assert limited.seconds_until_allowed(1.0) == 0
    last = limited.start_request(1.0, 5, 100)
    limited.record_limits(last, [RateLimit("tokens", capacity=600, remaining=50, reset=5.5)])
    assert limited.seconds_until_allowed(1.0) == pytest.approx(1.0)  # for the request
    limited.record_limits(last, [RateLimit("requests", capacity=10, remaining=5, reset=5.0)])
    limited.record_limits(first, [RateLimit("tokens", capacity=600, remaining=0, reset=6.0)])  # an earlier one
    assert limited.seconds_until_allowed(1.25) == pytest.approx(0.25)  # for its tokens


def test_a_reported_limit_is_not_waited_for_longer_than_a_minute() -> None:
    limited = gate()
    limited.record_limits(
        limited.start_request(0.0, 0, 1), [RateLimit("requests", capacity=200, remaining=0, reset=86_400 * 200)]
    )
    assert limited.seconds_until_allowed(0.0) == 60


def test_without_a_file_descriptor_fewer_requests_are_sent_with_any_number_of_jobs() -> None:
    narrow = gate(100)
    requests = [narrow.start_request(0.0, image, 1) for image in range(10)]
    for request in requests[:4]:
        assert not narrow.record_failure(request, 0.0, FailureKind.EXHAUSTED)
    assert (narrow.limit, narrow.in_flight) == (6, 6)
    for request in requests[4:]:
        narrow.record_success(request, 1.0, 1)
    assert narrow.limit == 6


def test_large_images_are_few_at_once() -> None:
    large = gate(100)
    large.capacity = Capacity(memory=64e6)
    for _ in range(100):
        large.capacity.record_image(2_000_000)
    assert large.limit == 8


def test_tokens_a_minute_are_guessed_before_and_put_right_after() -> None:
    limited = gate(tpm=6_000)
    ticket = limited.start_request(0.0, 0, 1_000)
    assert limited.seconds_until_allowed(0.0) == pytest.approx(10.0)
    limited.record_success(ticket, 1.0, 1_500)
    assert limited.seconds_until_allowed(1.0) == pytest.approx(14.0)


def test_a_server_that_does_not_count_leaves_the_guess() -> None:
    limited = gate(tpm=6_000)
    limited.record_success(limited.start_request(0.0, 0, 1_000), 1.0, None)
    assert limited.seconds_until_allowed(1.0) == pytest.approx(9.0)


def test_no_more_requests_are_on_their_way_than_there_are_jobs() -> None:
    narrow = gate(2)
    first, _ = narrow.start_request(0.0, 0, 1), narrow.start_request(0.0, 1, 1)
    assert narrow.seconds_until_allowed(0.0) == inf
    narrow.record_success(first, 1.0, 1)
    assert narrow.seconds_until_allowed(1.0) == 0


def test_when_the_server_says_how_long_all_wait_so_long() -> None:
    busy = gate()
    busy.record_failure(busy.start_request(0.0, 0, 1), 1.0, FailureKind.OVERLOADED, 30.0)
    waits = [busy.seconds_until_allowed(now) for now in (1.0, 11.0, 32.5)]
    assert waits == pytest.approx([31.5, 21.5, 0.0])  # with 5 % on top, so that not all clients come at once


@pytest.mark.parametrize("kind", [FailureKind.OVERLOADED, FailureKind.REFUSED, FailureKind.EXHAUSTED])
@pytest.mark.parametrize("retry_after", [None, 0.0])
def test_pauses_grow_only_while_nothing_comes_through(kind: FailureKind, retry_after: float | None) -> None:
    busy, now, pauses = gate(), 0.0, []
    for _ in range(40):
        busy.record_failure(busy.start_request(now, 0, 1), now, kind, retry_after)
        pauses.append(busy.seconds_until_allowed(now))
        now += pauses[-1]
    slow = busy.start_request(now, 0, 1)
    busy.record_failure(busy.start_request(now, 1, 1), now, kind)
    assert pauses == pytest.approx(sorted(pauses))
    assert (pauses[0], pauses[-1]) == pytest.approx((0.1, 30.0))
    busy.record_success(slow, now + 1, 1)  # it was sent before the last failure, and ended after it
    later = now + 60
    busy.record_failure(busy.start_request(later, 1, 1), later, kind, retry_after)
    assert busy.seconds_until_allowed(later) == pytest.approx(0.1)


def test_nothing_pauses_while_other_requests_are_in_flight() -> None:
    busy = gate(8)
    requests = [busy.start_request(0.0, image, 1) for image in range(8)]
    for request in requests[:3]:
        busy.record_failure(request, 0.1, FailureKind.REFUSED)
    assert (busy.limit, busy.seconds_until_allowed(0.1)) == (5, inf)
    busy.record_success(requests[3], 1.0, 1)
    assert busy.seconds_until_allowed(1.0) == 0


def test_too_many_requests_are_not_held_against_the_image() -> None:
    busy = gate()
    counts = {kind: busy.record_failure(busy.start_request(0.0, 0, 1), 0.0, kind) for kind in FailureKind}
    assert {kind for kind, is_counted in counts.items() if not is_counted} == {
        FailureKind.OVERLOADED,
        FailureKind.REFUSED,
        FailureKind.EXHAUSTED,
    }


def test_answers_that_are_no_use_pause_nothing_and_count_against_their_images() -> None:
    working = gate()
    for image in range(20):
        assert working.record_failure(working.start_request(0.0, image, 1), 0.0, FailureKind.UNUSABLE)
    assert (working.failing_since, working.seconds_until_allowed(0.0)) == (None, 0.0)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (IncompleteAnswerError("nothing", code="empty_answer"), FailureKind.UNUSABLE),
        (IncompleteAnswerError("again and again", code="repetition"), FailureKind.UNUSABLE),
        (IncompleteAnswerError("closed", code="cut_off"), FailureKind.TRANSIENT),
        (IncompleteAnswerError("too long", code="length"), FailureKind.PERMANENT),
        (IncompleteAnswerError("no", code="content_policy"), FailureKind.PERMANENT),
        (IncompleteAnswerError("new", code="some_new_code"), FailureKind.PERMANENT),
        (SchemaMismatchError("no"), FailureKind.PERMANENT),
        (EndpointError("no", status=400), FailureKind.PERMANENT),
        (EndpointError("later", status=500, is_temporary=True), FailureKind.TRANSIENT),
        (EndpointError("later", status=408, is_temporary=True), FailureKind.TRANSIENT),
        (EndpointError("no link", code="link_timeout", status=400, is_temporary=True), FailureKind.TRANSIENT),
        *(
            (EndpointError("later", status=status, is_temporary=True), FailureKind.OVERLOADED)
            for status in (200, 503, 529)
        ),
        *(
            (EndpointError("later", status=status, is_temporary=True), FailureKind.REFUSED)
            for status in (400, 403, 429)
        ),
        (
            IncompleteAnswerError("cut", cause=EndpointError("later", status=429, is_temporary=True)),
            FailureKind.REFUSED,
        ),
        (NetworkError("no descriptors", code="resources", is_temporary=True), FailureKind.EXHAUSTED),
        (IncompleteAnswerError("cut", cause=NetworkError("reset", is_temporary=True)), FailureKind.CONNECTION_LOST),
        (UnreachableError("away"), FailureKind.OVERLOADED),
    ],
)
def test_an_error_says_what_becomes_of_later_requests(error: QvisionError, kind: FailureKind) -> None:
    assert classify_failure(error) is kind


def test_when_five_images_fail_in_a_row_it_is_the_endpoint() -> None:
    sick = gate()
    held = [
        sick.record_failure(sick.start_request(0.0, image, 1), 0.0, FailureKind.TRANSIENT)
        for image in (1, 1, 2, 3, 4, 5, 1)
    ]
    assert held == [True, True, True, True, True, False, False]


def test_a_success_between_them_says_that_it_is_the_images() -> None:
    well = gate()
    for image in range(20):
        assert well.record_failure(well.start_request(0.0, image, 1), 0.0, FailureKind.TRANSIENT)
        well.record_success(well.start_request(0.0, 100 + image, 1), 0.0, 1)


def test_an_endpoint_is_away_from_the_first_failure_until_it_is_heard_of_again() -> None:
    lost = gate()
    lost.record_failure(lost.start_request(1.0, 0, 1), 2.0, FailureKind.OVERLOADED)
    lost.record_failure(lost.start_request(3.0, 0, 1), 4.0, FailureKind.OVERLOADED)
    assert lost.failing_since == 2.0
    lost.record_failure(lost.start_request(5.0, 0, 1), 6.0, FailureKind.PERMANENT)  # it refuses, so it is there
    assert lost.failing_since is None


def test_a_ticket_that_comes_back_makes_room() -> None:
    narrow = gate(1)
    ticket = narrow.start_request(0.0, 3, 7)
    assert ticket == InFlightRequest(3, 0.0, 7, number=1, tokens_before=7)
    narrow.record_failure(ticket, 0.0, FailureKind.PERMANENT)
    assert narrow.in_flight == 0
