"""How fast to ask, with a clock of the test's own: nothing here waits."""

from collections import deque
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qubrid_cli.batch.rate import (
    AdaptiveConcurrency,
    FailureKind,
    FixedConcurrency,
    InFlightRequest,
    PerMinuteLimit,
    RateLimiter,
    classify_failure,
)
from qubrid_cli.errors import (
    EndpointError,
    IncompleteAnswerError,
    NetworkError,
    QvisionError,
    SchemaMismatchError,
    UnreachableError,
)


def answers(jobs: AdaptiveConcurrency, count: int, seconds: float, *, is_full: bool = True) -> list[int]:
    """The limits after each of some answers."""
    limits = []
    for _ in range(count):
        jobs.record_success(seconds, is_full=is_full)
        limits.append(jobs.limit)
    return limits


def longest_wait(seconds: float) -> float:
    """A jitter that always picks the longest wait."""
    return seconds


def gate(limit: int = 64, *, rpm: int | None = None, tpm: int | None = None) -> RateLimiter:
    """A gate that always pauses for the longest time that it might."""
    return RateLimiter(FixedConcurrency(limit), rpm=rpm, tpm=tpm, jitter=longest_wait)


def test_while_the_latency_holds_the_number_doubles_up_to_64() -> None:
    jobs = AdaptiveConcurrency()
    assert jobs.limit == 4
    assert sorted(set(answers(jobs, 300, 1.0))) == [4, 8, 16, 32, 64]


def test_when_the_server_asks_for_a_pause_the_number_is_halved_and_grows_by_one_a_round() -> None:
    jobs = AdaptiveConcurrency()
    answers(jobs, 24, 1.0)
    jobs.record_overload(is_new=True, has_retry_after=True)
    assert jobs.limit == 8
    assert sorted(set(answers(jobs, 8 + 9 + 10, 1.0))) == [8, 9, 10, 11]


def test_a_latency_that_rises_by_half_ends_the_growth_and_one_that_doubles_turns_it() -> None:
    jobs = AdaptiveConcurrency()
    answers(jobs, 8, 1.0)
    assert (jobs.limit, answers(jobs, 64, 1.6)[-1], answers(jobs, 8, 2.5)[-1]) == (8, 8, 7)


def test_one_slow_answer_among_many_changes_nothing() -> None:
    jobs = AdaptiveConcurrency()
    jobs.record_success(60.0, is_full=True)
    assert answers(jobs, 7, 1.0)[-1] == 8


def test_the_number_does_not_grow_where_nothing_waits_to_be_sent() -> None:
    assert answers(AdaptiveConcurrency(), 100, 1.0, is_full=False)[-1] == 4


def test_the_number_stays_between_one_and_64() -> None:
    jobs = AdaptiveConcurrency()
    for _ in range(10):
        jobs.record_overload(is_new=True, has_retry_after=True)
    assert jobs.limit == 1
    assert max(answers(jobs, 10_000, 1.0)) == 64


def test_a_number_that_the_user_gave_stays() -> None:
    jobs = FixedConcurrency(7)
    jobs.record_overload(is_new=True, has_retry_after=True)
    jobs.record_success(100.0, is_full=True)
    assert jobs.limit == 7


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
    assert (busy.seconds_until_allowed(1.0), busy.seconds_until_allowed(11.0), busy.seconds_until_allowed(31.0)) == (
        30.0,
        20.0,
        0.0,
    )


def test_where_it_does_not_say_the_pause_grows_until_something_comes_through() -> None:
    busy, now, pauses = gate(), 0.0, []
    for _ in range(4):
        busy.record_failure(busy.start_request(now, 0, 1), now, FailureKind.OVERLOADED)
        pauses.append(busy.seconds_until_allowed(now))
        now += pauses[-1]
    busy.record_success(busy.start_request(now, 0, 1), now, 1)
    busy.record_failure(busy.start_request(now, 1, 1), now, FailureKind.OVERLOADED)
    assert [*pauses, busy.seconds_until_allowed(now)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 0.1])


def test_the_longest_pause_is_half_a_minute() -> None:
    busy, now = gate(), 0.0
    for number in range(40):
        busy.record_failure(busy.start_request(now, 0, 1), now, FailureKind.OVERLOADED)
        assert busy.seconds_until_allowed(now) == pytest.approx(min(30, 0.1 * 2**number))
        now += busy.seconds_until_allowed(now)
    assert now > 600


def test_sixteen_failures_at_once_are_one_trouble() -> None:
    jobs = AdaptiveConcurrency()
    answers(jobs, 24, 1.0)
    busy = RateLimiter(jobs, jitter=longest_wait)
    for now in (0.0, 10.0):  # the first time it may be chance
        tickets = [busy.start_request(now, image, 1) for image in range(16)]
        for ticket in tickets:
            busy.record_failure(ticket, now + 1.0, FailureKind.OVERLOADED)
    assert jobs.limit == 8
    assert busy.seconds_until_allowed(11.0) == pytest.approx(0.2)


def test_one_failure_in_ten_by_chance_takes_no_speed() -> None:
    jobs = AdaptiveConcurrency()
    unsteady, now = RateLimiter(jobs, jitter=longest_wait), 0.0
    for place in range(1_000):
        now += 1.0
        tickets = [unsteady.start_request(now, image, 1) for image in range(jobs.limit)]
        for number, ticket in enumerate(tickets, place):
            if number % 10 == 0:
                unsteady.record_failure(ticket, now + 0.5, FailureKind.OVERLOADED)
            else:
                unsteady.record_success(ticket, now + 0.5, 1)
    assert jobs.limit == 64


def test_when_every_other_request_is_turned_away_it_is_too_much() -> None:
    jobs = AdaptiveConcurrency()
    for _ in range(50):
        jobs.record_overload(is_new=True, has_retry_after=False)
        answers(jobs, 1, 1.0)
    assert jobs.limit == 1


@pytest.mark.parametrize("said", [0.0, 0.1])
def test_a_server_that_asks_for_hardly_a_pause_and_goes_on_refusing_is_asked_ever_more_rarely(said: float) -> None:
    busy, now = gate(), 0.0
    for _ in range(8):
        busy.record_failure(busy.start_request(now, 0, 1), now, FailureKind.OVERLOADED, said)
        now += busy.seconds_until_allowed(now)
    assert now == pytest.approx(0.1 * (2**8 - 1))


def test_too_many_requests_are_not_held_against_the_image() -> None:
    busy = gate()
    counts = {kind: busy.record_failure(busy.start_request(0.0, 0, 1), 0.0, kind) for kind in FailureKind}
    assert [kind for kind, is_counted in counts.items() if not is_counted] == [FailureKind.OVERLOADED]


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
            for status in (200, 400, 403, 429, 503)
        ),
        (
            IncompleteAnswerError("cut", cause=EndpointError("later", status=429, is_temporary=True)),
            FailureKind.OVERLOADED,
        ),
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
    assert ticket == InFlightRequest(3, 0.0, 7)
    narrow.record_failure(ticket, 0.0, FailureKind.PERMANENT)
    assert narrow.in_flight == 0


@pytest.mark.parametrize("says_how_long", [True, False])
def test_a_server_that_takes_60_a_minute_is_asked_until_it_has_answered_all(*, says_how_long: bool) -> None:
    """Played through with a clock of its own: 300 images, answers after 50 ms, 429 beyond 60 in any minute."""
    limited = RateLimiter(AdaptiveConcurrency(), jitter=longest_wait)
    now, waiting, accepted, answered = 0.0, deque(range(300)), deque[float](), 0
    under_way: list[
        tuple[float, InFlightRequest, float | None]
    ] = []  # with the seconds to wait, where it is turned away
    while answered < 300:
        while waiting and limited.seconds_until_allowed(now) == 0:
            while accepted and accepted[0] <= now - 60:
                accepted.popleft()
            is_taken = len(accepted) < 60
            if is_taken:
                accepted.append(now)
            under_way.append(
                (
                    now + 0.05,
                    limited.start_request(now, waiting.popleft(), 1),
                    None if is_taken else accepted[0] + 60 - now,
                )
            )
        due = [done for done, _, _ in under_way] + ([now + limited.seconds_until_allowed(now)] if waiting else [])
        now = max(now + 1e-6, min(due))
        for done, ticket, left in [one for one in under_way if one[0] <= now]:
            under_way.remove((done, ticket, left))
            if left is None:
                limited.record_success(ticket, now, 1)
                answered += 1
            else:
                assert not limited.record_failure(ticket, now, FailureKind.OVERLOADED, left if says_how_long else None)
                waiting.appendleft(ticket.image)
        assert now < 600
    assert now < (5 * 60 if says_how_long else 8 * 60)
