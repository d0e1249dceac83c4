"""How many requests are in flight, played through against simulated servers with a clock of the test's own.

Nothing here waits. ``python -m tests.batch.test_pace`` prints the comparison of ``-j auto`` with the best fixed number.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, inf

import pytest

from qubrid_cli.batch.pace.concurrency import Concurrency
from qubrid_cli.batch.rate import FailureKind, InFlightRequest, RateLimiter
from qubrid_cli.client.rate_limits import RateLimit

#: Seconds until a refusal arrives, and between two requests of a program that has other work to do.
REFUSAL_SECONDS, SENDING_SECONDS = 0.02, 1 / 600


@dataclass
class Reply:
    """When a request ends, and how."""

    end: float
    failure: FailureKind | None = None
    retry_after: float | None = None
    limits: tuple[RateLimit, ...] = ()


@dataclass
class Endpoint:
    """Answers everything after about ``latency`` seconds."""

    latency: float
    active: int = 0
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    def answer(self, now: float) -> Reply:
        self.active += 1
        return Reply(now + self.latency * self.chance.uniform(0.8, 1.2))

    def refuse(self, now: float, kind: FailureKind = FailureKind.REFUSED, retry_after: float | None = None) -> Reply:
        return Reply(now + REFUSAL_SECONDS, kind, retry_after)

    def arrive(self, now: float) -> Reply:
        return self.answer(now)


@dataclass
class Limited(Endpoint):
    """Takes so many at once, from a certain time on another number."""

    limit: int = 8
    retry_after: float | None = None
    kind: FailureKind = FailureKind.REFUSED
    changes: tuple[float, int] = (inf, 0)

    def arrive(self, now: float) -> Reply:
        limit = self.changes[1] if now >= self.changes[0] else self.limit
        return self.answer(now) if self.active < limit else self.refuse(now, self.kind, self.retry_after)


@dataclass
class Bucket(Endpoint):
    """Takes so many a minute, refilled evenly, and ``burst`` at once; it may say so in headers."""

    per_minute: int = 60
    burst: int = 1
    says_how_long: bool = False
    has_headers: bool = False
    level: float = inf
    at: float = 0.0

    def arrive(self, now: float) -> Reply:
        rate = self.per_minute / 60
        self.level = min(self.burst, self.level + (now - self.at) * rate)
        self.at = now
        is_taken = self.level > 1 - 1e-9
        self.level -= is_taken
        reply = self.answer(now) if is_taken else self.refuse(now)
        if not is_taken and self.says_how_long:
            reply.retry_after = max(1, ceil((1 - self.level) / rate))
        if self.has_headers:
            reply.limits = (RateLimit("requests", self.burst, int(self.level), (self.burst - self.level) / rate),)
        return reply


@dataclass
class Window(Endpoint):
    """Takes so many in any minute."""

    per_minute: int = 60
    says_how_long: bool = False
    taken: deque[float] = field(default_factory=deque)

    def arrive(self, now: float) -> Reply:
        while self.taken and self.taken[0] <= now - 60:
            self.taken.popleft()
        if len(self.taken) < self.per_minute:
            self.taken.append(now)
            return self.answer(now)
        return self.refuse(now, retry_after=self.taken[0] + 60 - now if self.says_how_long else None)


@dataclass
class Queueing(Endpoint):
    """Works on so many at once; the others wait."""

    limit: int = 8
    free_at: list[float] = field(default_factory=list)

    def arrive(self, now: float) -> Reply:
        begin = max(now, heapq.heappop(self.free_at)) if len(self.free_at) >= self.limit else now
        reply = self.answer(begin)
        heapq.heappush(self.free_at, reply.end)
        return reply


@dataclass
class Batching(Endpoint):
    """Answers more slowly, the more there are: with ``half`` in flight it gives half of its most answers per second."""

    half: int = 64

    def arrive(self, now: float) -> Reply:
        reply = self.answer(now)
        reply.end += (reply.end - now) * self.active / self.half
        return reply


@dataclass
class Failing(Endpoint):
    """Fails by chance."""

    part: float = 0.2
    kind: FailureKind = FailureKind.TRANSIENT

    def arrive(self, now: float) -> Reply:
        return self.refuse(now, self.kind) if self.chance.random() < self.part else self.answer(now)


@dataclass
class Outages(Endpoint):
    """Is away for 3 seconds after each 15."""

    def arrive(self, now: float) -> Reply:
        return self.refuse(now, FailureKind.OVERLOADED) if now % 18 >= 15 else self.answer(now)


@dataclass
class Played:
    """What came of a run: the answers, the refusals, and how many were in flight in the end."""

    answers: int = 0
    refusals: int = 0
    limit: int = 0


def play(endpoint: Endpoint, jobs: int | None, seconds: float) -> Played:
    """Play a run through, with more images than it can do."""
    chance = random.Random(3)
    limiter = RateLimiter(jobs, jitter=lambda longest: chance.uniform(longest / 2, longest))
    played, now, images, retries = Played(), 0.0, 0, deque[int]()
    pending: list[tuple[float, int, InFlightRequest, Reply]] = []
    free_at = 0.0
    while now < seconds:
        while (wait := max(limiter.seconds_until_allowed(now), free_at - now)) <= 1e-9:
            images += 1
            request = limiter.start_request(now, retries.popleft() if retries else images, 100)
            reply = endpoint.arrive(now)
            heapq.heappush(pending, (reply.end, images, request, reply))
            free_at = now + (0.5 if images == 1 else SENDING_SECONDS)  # the first one goes ahead
        now = max(now + 1e-9, min(now + wait, pending[0][0] if pending else inf))
        while pending and pending[0][0] <= now:
            _, _, request, reply = heapq.heappop(pending)
            free_at = now if free_at - now > SENDING_SECONDS else free_at
            limiter.record_limits(request, reply.limits)
            if reply.failure is None:
                endpoint.active -= 1
                played.answers += now <= seconds
                limiter.record_success(request, now, 100)
            else:
                played.refusals += 1
                limiter.record_failure(request, now, reply.failure, reply.retry_after)
                retries.append(request.image)
    played.limit = limiter.limit
    return played


SERVERS: dict[str, Callable[[float], Endpoint]] = {
    "no limit": Endpoint,
    "8 at once": Limited,
    "8 at once, Retry-After: 1": lambda latency: Limited(latency, retry_after=1.0),
    "8 at once, 503": lambda latency: Limited(latency, kind=FailureKind.OVERLOADED),
    "2 at once": lambda latency: Limited(latency, limit=2),
    "100 at once": lambda latency: Limited(latency, limit=100),
    "8, later 64 at once": lambda latency: Limited(latency, changes=(20.0, 64)),
    "60 a minute": lambda latency: Bucket(latency, burst=1),
    "60 a minute, Retry-After": lambda latency: Bucket(latency, says_how_long=True),
    "60 a minute, burst of 60": lambda latency: Bucket(latency, burst=60),
    "60 in any minute": Window,
    "600 a minute": lambda latency: Bucket(latency, per_minute=600),
    "600 a minute, Retry-After": lambda latency: Bucket(latency, per_minute=600, says_how_long=True),
    "600 a minute, burst of 100": lambda latency: Bucket(latency, per_minute=600, burst=100),
    "600 a minute, headers": lambda latency: Bucket(latency, per_minute=600, burst=100, has_headers=True),
    "600 in any minute, Retry-After": lambda latency: Window(latency, per_minute=600, says_how_long=True),
    "queue for 8": Queueing,
    "queue for 40": lambda latency: Queueing(latency, limit=40),
    "batching": Batching,
    "20 % errors 500": Failing,
    "10 % errors 503": lambda latency: Failing(latency, part=0.1, kind=FailureKind.OVERLOADED),
    "outages": Outages,
}
#: The answers in a minute with the best fixed number, after 0.5 s and after 2 s each, as the comparison below prints them.
BEST = {
    "no limit": (35443, 14746),
    "8 at once": (945, 231),
    "8 at once, Retry-After: 1": (945, 231),
    "8 at once, 503": (945, 231),
    "2 at once": (239, 59),
    "100 at once": (11532, 2810),
    "8, later 64 at once": (4748, 792),
    "60 a minute": (57, 38),
    "60 a minute, Retry-After": (49, 50),
    "60 a minute, burst of 60": (119, 117),
    "60 in any minute": (60, 60),
    "600 a minute": (447, 360),
    "600 a minute, Retry-After": (425, 402),
    "600 a minute, burst of 100": (691, 669),
    "600 a minute, headers": (691, 670),
    "600 in any minute, Retry-After": (600, 600),
    "queue for 8": (945, 231),
    "queue for 40": (4747, 1157),
    "batching": (6705, 1637),
    "20 % errors 500": (27377, 10810),
    "10 % errors 503": (30154, 10163),
    "outages": (28525, 10777),
}
FIXED = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
MINUTE = 60.0


@pytest.mark.parametrize("name", SERVERS)
def test_in_a_minute_auto_gives_nearly_as_many_answers_as_the_best_fixed_number(name: str) -> None:
    """With answers after 2 s, which leave less time to find the number."""
    assert play(SERVERS[name](2.0), None, MINUTE).answers >= (0.8 if name == "outages" else 0.85) * BEST[name][1]


@pytest.mark.parametrize("name", [name for name, (fast, _) in BEST.items() if fast < 7000])
def test_the_same_with_fast_answers(name: str) -> None:
    assert play(SERVERS[name](0.5), None, MINUTE).answers >= 0.85 * BEST[name][0]


@pytest.mark.parametrize("latency", [0.25, 0.5, 1.0, 2.0])
def test_pauses_of_a_second_cost_little_even_in_a_short_run(latency: float) -> None:
    """A server that takes 8 at once, and would give 8 answers per latency with the best fixed number."""
    assert play(Limited(latency, retry_after=1.0), None, 30.0).answers >= 0.88 * 30 * 8 / latency


@pytest.mark.parametrize("seed", range(4))
def test_a_limit_per_minute_is_not_taken_for_a_limit_at_once(seed: int) -> None:
    """Requests that are not spread are refused, and each refusal costs a second."""
    endpoint = Bucket(0.5, per_minute=600, says_how_long=True, chance=random.Random(1000 + seed))
    assert play(endpoint, None, MINUTE).answers >= 0.85 * BEST["600 a minute, Retry-After"][0]


@pytest.mark.parametrize("jobs", [16, 512])
def test_a_fixed_number_is_a_maximum_that_a_server_may_lower(jobs: int) -> None:
    played = play(Limited(0.5), jobs, MINUTE)
    assert played.answers >= 0.85 * 945
    assert played.refusals < jobs + 60


@pytest.mark.parametrize(("name", "most"), [("8 at once", 0.1), ("100 at once", 0.02), ("600 a minute", 0.15)])
def test_few_requests_are_refused(name: str, most: float) -> None:
    played = play(SERVERS[name](0.5), None, MINUTE)
    assert played.refusals < most * played.answers


def test_with_reported_limits_no_request_is_refused() -> None:
    assert play(SERVERS["600 a minute, headers"](0.5), None, MINUTE).refusals == 0


def test_a_refusal_lowers_the_number_at_once_to_what_the_server_holds() -> None:
    concurrency = Concurrency()
    for now in range(8):
        concurrency.record_success(1.0, float(now), is_full=True)
    assert concurrency.limit == 24
    for refused in range(16):
        concurrency.record_refusal(8.0, 8.1, held=24 - refused - 1, pause=0.0)
    assert concurrency.limit == 8


def test_the_number_does_not_grow_where_nothing_waits_to_be_sent() -> None:
    concurrency = Concurrency()
    for now in range(1000):
        concurrency.record_success(1.0, float(now), is_full=False)
    assert concurrency.limit == 8


def test_after_an_outage_the_number_is_soon_as_before() -> None:
    concurrency = Concurrency(64)
    for now in range(100):
        concurrency.record_success(1.0, float(now), is_full=True)
    for held in reversed(range(64)):
        concurrency.record_overload(100.0, held=held)
    assert concurrency.limit == 1
    for _ in range(3 * 64):
        concurrency.record_success(1.0, 110.0, is_full=True)
    assert concurrency.limit > 60


if __name__ == "__main__":
    for server, make in SERVERS.items():
        for latency in (0.5, 2.0):
            best, jobs = max((play(make(latency), jobs, MINUTE).answers, -jobs) for jobs in FIXED)
            auto = play(make(latency), None, MINUTE)
            found = f"auto {auto.answers} ({auto.refusals} refused, at last -j {auto.limit})"
            print(f"{server}, {latency} s: {found}, -j {-jobs} {best}: {auto.answers / best:.2f}")
