"""How the limits of a run are divided."""

from math import inf

from qubrid_cli.batch.budget import FailureLimit
from qubrid_cli.batch.pace.concurrency import ConcurrencyState
from qubrid_cli.batch.parts.lease import CommonShare
from qubrid_cli.batch.parts.part import PartSummary
from qubrid_cli.batch.parts.shares import RunLimits, Shares
from qubrid_cli.errors import BatchIncompleteError


def test_what_is_limited_per_minute_or_at_once_is_divided_evenly() -> None:
    shares = Shares(RunLimits(jobs=6, rpm=600, tpm=9000), 0.0)
    assert [shares.compute_slots(workers) for workers in (0, 4, 9)] == [0, 4, 6]
    assert shares.compute_common(4) == CommonShare(1, 150.0, 2250.0)
    share = shares.reserve(1, 4, 4, 0.0)
    assert share is not None
    assert (share.jobs, share.rpm, share.tpm, share.cost, share.tokens) == (1, 150.0, 2250.0, inf, inf)


def test_money_that_a_part_does_not_use_comes_back_and_the_rest_is_used_by_one_part_at_a_time() -> None:
    shares = Shares(RunLimits(cost=1.0), 0.0)
    costs = [share.cost for number in (1, 2) if (share := shares.reserve(number, 2, 3 - number, 0.0)) is not None]
    assert costs == [0.5, 0.5]
    assert shares.reserve(3, 2, 1, 0.0) is None
    shares.release(1, PartSummary(1, done=9, cost=0.2), 0.0)
    third = shares.reserve(3, 2, 1, 0.0)
    assert third is not None
    assert round(third.cost, 9) == 0.3
    stopped = BatchIncompleteError("stopped at --max-cost 0.5", code="limit")
    shares.release(2, PartSummary(2, done=9, cost=0.5, stop_reason=stopped), 0.0)
    assert shares.compute_slots(4) == 1
    assert shares.find_used_up() == "--max-cost 1"


def test_a_pause_what_j_auto_found_and_failures_reach_the_parts_that_start_later() -> None:
    found = ConcurrencyState(24.0, is_growing=False)
    shares = Shares(RunLimits(seconds=100.0, failures=FailureLimit(count=5, in_a_row=20)), 10.0)
    shares.release(1, PartSummary(1, done=7, failed=2, pause=30.0, concurrency=found), 20.0)
    share = shares.reserve(2, 1, 1, 40.0)
    assert share is not None
    assert (share.pause, share.concurrency, share.seconds) == (10.0, found, 70.0)
    assert share.failures == FailureLimit(count=3, in_a_row=20)
    assert shares.find_exceeded_limit(40.0) is None
    shares.release(2, PartSummary(2, failed=4), 50.0)
    assert shares.find_exceeded_limit(50.0) == "--max-failures"
    assert Shares(RunLimits(seconds=5.0), 0.0).find_exceeded_limit(6.0) == "--max-time 5"
