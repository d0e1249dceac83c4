"""The lock of a run: who has it, who waits, who takes over, and what workers read in it."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from qubrid_cli.batch.folders import Shard
from qubrid_cli.batch.parts.lease import SHORT_GRACE, CommonShare, Interruption, Lease, LeaseTimes, LeaseWatcher
from qubrid_cli.errors import OutputError
from qubrid_cli.storage.folder import Folder
from qubrid_cli.storage.opening import open_folder

#: Of a driver that is at work: long enough for a machine with other work.
AT_WORK = LeaseTimes(renewal=0.05, worker=20.0, takeover=30.0, poll=0.02)
#: Of one that never renews its lock.
SILENT = LeaseTimes(renewal=30.0, worker=0.2, takeover=0.4, poll=0.02)


@pytest.fixture(params=["local", "bucket"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    if request.param == "local":
        yield open_folder(str(tmp_path))
    else:
        yield open_folder(f"{request.getfixturevalue('bucket').url}/run")


def test_a_second_driver_is_refused_and_the_first_one_named(folder: Folder) -> None:
    with Lease(folder, times=AT_WORK), pytest.raises(OutputError, match=r"another run works on .*: process \d+ on "):
        Lease(folder, times=AT_WORK).__enter__()
    with Lease(folder, times=AT_WORK):
        pass
    assert [item.name for item in folder.list()] == []


def test_a_driver_takes_over_when_the_other_one_is_silent_and_that_one_notices(folder: Folder) -> None:
    with Lease(folder, times=SILENT) as first:
        watcher = LeaseWatcher(folder, first.key)
        assert watcher.check() is None
        with Lease(folder, times=SILENT) as second:
            assert watcher.check() == Interruption("another run, which has taken over", SHORT_GRACE)
            first.publish()
            assert first.problem is not None
            assert first.problem.message.startswith("another run has taken over")
            assert LeaseWatcher(folder, second.key).check() is None


def test_drivers_of_different_shards_work_together_and_others_do_not(tmp_path: Path) -> None:
    folder = open_folder(str(tmp_path))
    with ExitStack() as stack:
        for number in (1, 2):
            stack.enter_context(Lease(folder, Shard(number, 3), times=AT_WORK))
        for other in (None, Shard(2, 3), Shard(3, 4)):
            with pytest.raises(OutputError, match="another run works on"):
                Lease(folder, other, times=AT_WORK).__enter__()
    assert [item.name for item in folder.list()] == []


def test_workers_learn_their_share_and_that_they_should_stop(tmp_path: Path) -> None:
    folder = open_folder(str(tmp_path))
    with Lease(folder, times=SILENT) as lease:
        watcher = LeaseWatcher(folder, lease.key)
        lease.publish(share=CommonShare(rpm=1.5))
        assert (watcher.check(), watcher.share) == (None, CommonShare(rpm=1.5))
        lease.publish(stop=True)
        assert watcher.check() == Interruption("the run")
    while (interruption := watcher.check()) is None:
        pass
    assert interruption == Interruption("the end of the run that started it", SHORT_GRACE)
