"""The progress within a part: what its worker reports, and how the driver counts it."""

import json
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path
from queue import Queue
from typing import Any

import pexpect
import pytest

from qubrid_cli.batch.budget import TotalUsage
from qubrid_cli.batch.inputs import Task
from qubrid_cli.batch.parts.connection import EndpointAccess
from qubrid_cli.batch.parts.division import Planner
from qubrid_cli.batch.parts.driver import Driver
from qubrid_cli.batch.parts.executors import PartExecutor
from qubrid_cli.batch.parts.lease import Lease
from qubrid_cli.batch.parts.output_folder import PartsOutput
from qubrid_cli.batch.parts.part import Part, PartSummary
from qubrid_cli.batch.parts.reports import ReportReader, decode_report, encode_report
from qubrid_cli.batch.parts.shares import RunLimits, Shares
from qubrid_cli.batch.progress.display import ProgressDisplay
from qubrid_cli.batch.progress.stats import BatchStats
from qubrid_cli.errors import InterruptedByUserError
from qubrid_cli.storage.opening import open_folder

from ...conftest import KEY, command, environment
from ...support.gallery import Draw, Gallery, answered, numbered
from ...support.server import Hold, Reply

STOPPED = InterruptedByUserError("stopped")
REPORT = PartSummary(1, done=5, failed=1, skipped=2, input_tokens=50.0, cost=0.5)


class Workers(Executor):
    """Workers that do what the test says: each part that is submitted, with its future."""

    def __init__(self) -> None:
        self.parts: Queue[tuple[Part, Future[Any]]] = Queue()

    def submit(self, _: Callable[..., Any], /, *args: Any, **__: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.parts.put((args[0], future))
        return future


class Display(ProgressDisplay):
    """Notes how many images are finished."""

    def __init__(self, stats: BatchStats) -> None:
        self.counts: Queue[int] = Queue()
        self._stats = stats

    def update(self) -> None:
        self.counts.put(self._stats.finished)


@pytest.mark.parametrize(
    ("first_end", "second_end", "counts"),
    [
        (PartSummary(1, done=7, failed=1, skipped=2, input_tokens=70.0, cost=0.7), None, (7, 1, 2, 70.0, 0.7)),
        # The answers that a dead worker has saved are skipped; the tokens of all were used.
        (BrokenExecutor(), PartSummary(1, done=4, skipped=6, input_tokens=40.0, cost=0.4), (4, 0, 6, 90.0, 0.9)),
        (
            PartSummary(1, done=6, failed=1, skipped=2, input_tokens=60.0, cost=0.6, stop_reason=STOPPED),
            PartSummary(1, done=2, skipped=8, input_tokens=20.0, cost=0.2),
            (8, 0, 2, 80.0, 0.8),
        ),
    ],
    ids=["finished", "died", "interrupted"],
)
def test_each_image_is_counted_once_however_the_part_ends(
    tmp_path: Path,
    first_end: PartSummary | BrokenExecutor,
    second_end: PartSummary | None,
    counts: tuple[int, int, int, float, float],
) -> None:
    output, workers, usage = PartsOutput(open_folder(str(tmp_path))), Workers(), TotalUsage()
    stats = BatchStats(usage)
    display = Display(stats)
    shares = Shares(RunLimits(cost=1.0), time.monotonic())
    planner = Planner(output, lambda: [Task(number, f"{number}.png") for number in range(1, 11)], 10)
    with Lease(output.folder) as lease, ReportReader(output) as reports:
        driver = Driver(
            planner,
            build_part=lambda planned, share, attempt: Part(
                "", planned.number, EndpointAccess("", ""), "", share, attempt=attempt
            ),
            executor=PartExecutor(workers, lambda: 1),
            lease=lease,
            shares=shares,
            reports=reports,
            stats=stats,
            usage=usage,
            display=display,
        )
        thread = threading.Thread(target=driver.run)
        thread.start()
        part, future = workers.parts.get(timeout=30)
        output.save_report(1, encode_report("of another attempt", PartSummary(1, done=9)))
        assert part.attempt is not None
        output.save_report(1, encode_report(part.attempt, REPORT))
        while display.counts.get(timeout=30) != 8:
            pass
        assert (stats.done, stats.failed, stats.skipped, usage.input_tokens, usage.cost) == (5, 1, 2, 50.0, 0.5)
        if isinstance(first_end, PartSummary):
            future.set_result(first_end)
        else:
            future.set_exception(first_end)
        if second_end is not None:
            part, future = workers.parts.get(timeout=30)
            assert part.share.cost == pytest.approx(1 - counts[4] + (second_end.cost or 0))
            future.set_result(second_end)
        thread.join()
    assert (stats.done, stats.failed, stats.skipped, usage.input_tokens, usage.cost) == pytest.approx(counts)


@pytest.mark.parametrize(
    "change", [{"attempt": "b"}, {"done": "7"}, {"cost": -1}, {"input_tokens": float("nan")}, {"sent_bytes": None}]
)
def test_a_report_that_is_not_valid_is_ignored(change: dict[str, Any]) -> None:
    report = json.loads(encode_report("a", REPORT))
    assert decode_report(json.dumps(report).encode(), 1, "a") == REPORT
    assert decode_report(json.dumps(report | change).encode(), 1, "a") is None
    assert [decode_report(data, 1, "a") for data in (b"", b"[1]", b'{"attempt": "a"}', b"\xff")] == [None] * 4


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_the_bar_moves_before_the_first_part_ends(draw: Draw, gallery: Gallery, tmp_path: Path) -> None:
    names = numbered(8)
    draw(*names)
    hold = Hold()

    def rule(name: str, number: int) -> Reply:
        reply = answered(name, number)
        return reply if name in names[:3] else Reply([hold, *reply.pieces], headers=reply.headers)

    gallery.rule = rule
    program, *arguments = command("batch", "photos", "caption", "-o", "out/", "-j", 8, "--processes", 1)
    env = environment({"QUBRID_API_KEY": KEY, "QUBRID_BASE_URL": gallery.url})
    child = pexpect.spawn(program, arguments, env=env, cwd=str(tmp_path), encoding="utf-8", timeout=60)
    child.expect_exact("3 of 8")
    assert [path.name for path in (tmp_path / "out" / "partial").iterdir()] == ["part-00001.json"]
    hold.event.set()
    child.expect_exact("8 described")
    child.expect(pexpect.EOF)
    child.close()
    assert (child.exitstatus, list((tmp_path / "out" / "partial").iterdir())) == (0, [])
