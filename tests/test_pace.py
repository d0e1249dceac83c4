"""How fast to ask, with a clock of the test's own: nothing here waits."""

from collections import deque
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qubrid_cli.pace import Adaptive, Fixed, Gate, Rate, Ticket, Trouble


def answers(jobs: Adaptive, count: int, seconds: float, *, is_full: bool = True) -> list[int]:
    """The limits after each of some answers."""
    limits = []
    for _ in range(count):
        jobs.answered(seconds, is_full=is_full)
        limits.append(jobs.limit)
    return limits


def gate(limit: int = 64, *, rpm: int | None = None, tpm: int | None = None) -> Gate:
    """A gate that always pauses for the longest time that it might."""
    return Gate(Fixed(limit), rpm=rpm, tpm=tpm, jitter=max)


def test_while_the_latency_holds_the_number_doubles_up_to_64() -> None:
    jobs = Adaptive()
    assert jobs.limit == 4
    assert sorted(set(answers(jobs, 300, 1.0))) == [4, 8, 16, 32, 64]


def test_when_the_server_asks_for_a_pause_the_number_is_halved_and_grows_by_one_a_round() -> None:
    jobs = Adaptive()
    answers(jobs, 24, 1.0)
    jobs.troubled(is_new=True, is_told=True)
    assert jobs.limit == 8
    assert sorted(set(answers(jobs, 8 + 9 + 10, 1.0))) == [8, 9, 10, 11]


def test_a_latency_that_rises_by_half_ends_the_growth_and_one_that_doubles_turns_it() -> None:
    jobs = Adaptive()
    answers(jobs, 8, 1.0)
    assert (jobs.limit, answers(jobs, 64, 1.6)[-1], answers(jobs, 8, 2.5)[-1]) == (8, 8, 7)


def test_one_slow_answer_among_many_changes_nothing() -> None:
    jobs = Adaptive()
    jobs.answered(60.0, is_full=True)
    assert answers(jobs, 7, 1.0)[-1] == 8


def test_the_number_does_not_grow_where_nothing_waits_to_be_sent() -> None:
    assert answers(Adaptive(), 100, 1.0, is_full=False)[-1] == 4


def test_the_number_stays_between_one_and_64() -> None:
    jobs = Adaptive()
    for _ in range(10):
        jobs.troubled(is_new=True, is_told=True)
    assert jobs.limit == 1
    assert max(answers(jobs, 10_000, 1.0)) == 64


def test_a_number_that_the_user_gave_stays() -> None:
    jobs = Fixed(7)
    jobs.troubled(is_new=True, is_told=True)
    jobs.answered(100.0, is_full=True)
    assert jobs.limit == 7


@given(st.integers(1, 600), st.lists(st.floats(0, 5), min_size=1, max_size=300))
def test_never_more_than_the_rate_goes_in_any_minute(per_minute: int, gaps: list[float]) -> None:
    rate, now, sent = Rate(per_minute), 0.0, deque[float]()
    for gap in gaps:
        now += gap
        now += rate.wait(now)
        rate.spend(now, 1)
        while sent and sent[0] <= now - 60 + 1e-6:
            sent.popleft()
        sent.append(now)
        assert len(sent) <= per_minute


def test_requests_a_minute_are_spread_evenly() -> None:
    limited, now, sent = gate(rpm=60), 0.0, []
    for image in range(5):
        now += limited.wait(now)
        limited.enter(now, image, 10)
        sent.append(now)
    assert [later - earlier for earlier, later in pairwise(sent)] == [1.0] * 4


def test_tokens_a_minute_are_guessed_before_and_put_right_after() -> None:
    limited = gate(tpm=6_000)
    ticket = limited.enter(0.0, 0, 1_000)
    assert limited.wait(0.0) == pytest.approx(10.0)
    limited.succeeded(ticket, 1.0, 1_500)
    assert limited.wait(1.0) == pytest.approx(14.0)


def test_a_server_that_does_not_count_leaves_the_guess() -> None:
    limited = gate(tpm=6_000)
    limited.succeeded(limited.enter(0.0, 0, 1_000), 1.0, None)
    assert limited.wait(1.0) == pytest.approx(9.0)


def test_no_more_requests_are_on_their_way_than_there_are_jobs() -> None:
    narrow = gate(2)
    first, _ = narrow.enter(0.0, 0, 1), narrow.enter(0.0, 1, 1)
    assert narrow.wait(0.0) == inf
    narrow.succeeded(first, 1.0, 1)
    assert narrow.wait(1.0) == 0


def test_when_the_server_says_how_long_all_wait_so_long() -> None:
    busy = gate()
    busy.failed(busy.enter(0.0, 0, 1), 1.0, Trouble.CROWDED, 30.0)
    assert (busy.wait(1.0), busy.wait(11.0), busy.wait(31.0)) == (30.0, 20.0, 0.0)


def test_where_it_does_not_say_the_pause_grows_until_something_comes_through() -> None:
    busy, now, pauses = gate(), 0.0, []
    for _ in range(4):
        busy.failed(busy.enter(now, 0, 1), now, Trouble.CROWDED)
        pauses.append(busy.wait(now))
        now += pauses[-1]
    busy.succeeded(busy.enter(now, 0, 1), now, 1)
    busy.failed(busy.enter(now, 1, 1), now, Trouble.CROWDED)
    assert [*pauses, busy.wait(now)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 0.1])


def test_the_longest_pause_is_half_a_minute() -> None:
    busy, now = gate(), 0.0
    for number in range(40):
        busy.failed(busy.enter(now, 0, 1), now, Trouble.CROWDED)
        assert busy.wait(now) == pytest.approx(min(30, 0.1 * 2**number))
        now += busy.wait(now)
    assert now > 600


def test_sixteen_failures_at_once_are_one_trouble() -> None:
    jobs = Adaptive()
    answers(jobs, 24, 1.0)
    busy = Gate(jobs, jitter=max)
    for now in (0.0, 10.0):  # the first time it may be chance
        tickets = [busy.enter(now, image, 1) for image in range(16)]
        for ticket in tickets:
            busy.failed(ticket, now + 1.0, Trouble.CROWDED)
    assert jobs.limit == 8
    assert busy.wait(11.0) == pytest.approx(0.2)


def test_one_failure_in_ten_by_chance_takes_no_speed() -> None:
    jobs = Adaptive()
    unsteady, now = Gate(jobs, jitter=max), 0.0
    for place in range(1_000):
        now += 1.0
        tickets = [unsteady.enter(now, image, 1) for image in range(jobs.limit)]
        for number, ticket in enumerate(tickets, place):
            if number % 10 == 0:
                unsteady.failed(ticket, now + 0.5, Trouble.CROWDED)
            else:
                unsteady.succeeded(ticket, now + 0.5, 1)
    assert jobs.limit == 64


def test_when_every_other_request_is_turned_away_it_is_too_much() -> None:
    jobs = Adaptive()
    for _ in range(50):
        jobs.troubled(is_new=True, is_told=False)
        answers(jobs, 1, 1.0)
    assert jobs.limit == 1


@pytest.mark.parametrize("said", [0.0, 0.1])
def test_a_server_that_asks_for_hardly_a_pause_and_goes_on_refusing_is_asked_ever_more_rarely(said: float) -> None:
    busy, now = gate(), 0.0
    for _ in range(8):
        busy.failed(busy.enter(now, 0, 1), now, Trouble.CROWDED, said)
        now += busy.wait(now)
    assert now == pytest.approx(0.1 * (2**8 - 1))


def test_too_many_requests_are_not_held_against_the_image() -> None:
    busy = gate()
    assert [busy.failed(busy.enter(0.0, 0, 1), 0.0, trouble) for trouble in Trouble] == [True, True, True, False]


def test_when_five_images_fail_in_a_row_it_is_the_endpoint() -> None:
    sick = gate()
    held = [sick.failed(sick.enter(0.0, image, 1), 0.0, Trouble.FAILED) for image in (1, 1, 2, 3, 4, 5, 1)]
    assert held == [True, True, True, True, True, False, False]


def test_a_success_between_them_says_that_it_is_the_images() -> None:
    well = gate()
    for image in range(20):
        assert well.failed(well.enter(0.0, image, 1), 0.0, Trouble.FAILED)
        well.succeeded(well.enter(0.0, 100 + image, 1), 0.0, 1)


def test_an_endpoint_is_away_from_the_first_failure_until_it_is_heard_of_again() -> None:
    lost = gate()
    lost.failed(lost.enter(1.0, 0, 1), 2.0, Trouble.CROWDED)
    lost.failed(lost.enter(3.0, 0, 1), 4.0, Trouble.CROWDED)
    assert lost.away_since == 2.0
    lost.failed(lost.enter(5.0, 0, 1), 6.0, Trouble.NONE)  # it refuses, so it is there
    assert lost.away_since is None


def test_a_ticket_that_comes_back_makes_room() -> None:
    narrow = gate(1)
    ticket = narrow.enter(0.0, 3, 7)
    assert ticket == Ticket(3, 0.0, 7)
    narrow.failed(ticket, 0.0, Trouble.NONE)
    assert narrow.in_flight == 0


@pytest.mark.parametrize("says_how_long", [True, False])
def test_a_server_that_takes_60_a_minute_is_asked_until_it_has_answered_all(*, says_how_long: bool) -> None:
    """Played through with a clock of its own: 300 images, answers after 50 ms, 429 beyond 60 in any minute."""
    limited = Gate(Adaptive(), jitter=max)
    now, waiting, accepted, answered = 0.0, deque(range(300)), deque[float](), 0
    under_way: list[tuple[float, Ticket, float | None]] = []  # with the seconds to wait, where it is turned away
    while answered < 300:
        while waiting and limited.wait(now) == 0:
            while accepted and accepted[0] <= now - 60:
                accepted.popleft()
            is_taken = len(accepted) < 60
            if is_taken:
                accepted.append(now)
            under_way.append(
                (now + 0.05, limited.enter(now, waiting.popleft(), 1), None if is_taken else accepted[0] + 60 - now)
            )
        due = [done for done, _, _ in under_way] + ([now + limited.wait(now)] if waiting else [])
        now = max(now + 1e-6, min(due))
        for done, ticket, left in [one for one in under_way if one[0] <= now]:
            under_way.remove((done, ticket, left))
            if left is None:
                limited.succeeded(ticket, now, 1)
                answered += 1
            else:
                assert not limited.failed(ticket, now, Trouble.CROWDED, left if says_how_long else None)
                waiting.appendleft(ticket.image)
        assert now < 600
    assert now < (5 * 60 if says_how_long else 8 * 60)
