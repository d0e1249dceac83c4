"""Processes that are killed: what is lost is at most what was answered since the last checkpoint."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ...support.gallery import Batch, Draw, Gallery, lines, numbered, source
from ...support.server import Pause, Reply, document

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")

Start = Callable[..., subprocess.Popen[bytes]]
NAMES = numbered(150)
COMMAND = ("photos", "caption", "-o", "out/", "--part-size", 75, "-j", 4)


def find_workers(program: subprocess.Popen[bytes]) -> list[int]:
    children = [
        pid for path in Path(f"/proc/{program.pid}/task").glob("*/children") for pid in path.read_text().split()
    ]
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def answer(name: str, seconds: float) -> Reply:
    reply = document(f"This is {name}.")
    return Reply([Pause(seconds), *reply.pieces], headers=reply.headers)


def reach(gallery: Gallery, tries: int, *, seconds: float = 0.02) -> threading.Event:
    """An event that is set when so many images were requested; each later one is answered after so many seconds."""
    reached = threading.Event()

    def rule(name: str, _: int) -> Reply:
        if sum(gallery.tries.values()) < tries:
            return answer(name, 0.02)
        reached.set()
        return answer(name, seconds)

    gallery.rule = rule
    return reached


def results(folder: Path) -> list[str]:
    return [source(line) for path in sorted(folder.glob("part-*.jsonl")) for line in lines(path) if line["ok"]]


@pytest.mark.parametrize("workers", [["--processes", 2], ["--dask", "local:2", "--send-key"]])
def test_a_part_whose_worker_is_killed_is_continued_by_another_one(
    start_batch: Start, draw: Draw, gallery: Gallery, tmp_path: Path, workers: list[object]
) -> None:
    draw(*NAMES)
    reached = reach(gallery, 60)
    running = start_batch(*COMMAND, *workers)
    assert reached.wait(60)
    os.kill(find_workers(running)[0], signal.SIGKILL)
    _, stderr = running.communicate(timeout=90)
    assert running.returncode == 0, stderr
    assert results(tmp_path / "out") == NAMES
    assert len(NAMES) < sum(gallery.tries.values()) <= len(NAMES) + 50 + 2


def test_the_workers_of_a_killed_driver_save_what_they_have_and_end(
    start_batch: Start, batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    """The lock is deleted here, because waiting until it may be taken over takes too long; see ``test_lease``."""
    draw(*NAMES)
    reached = reach(gallery, 40, seconds=0.5)
    running = start_batch(*COMMAND, "--processes", 2)
    assert reached.wait(60)
    running.kill()
    running.communicate(timeout=60)  # the workers have the same stderr
    assert results(tmp_path / "out") == []
    (tmp_path / "out" / "lock" / "run.json").unlink()
    gallery.rule = lambda name, _: answer(name, 0)
    again = batch(*COMMAND)
    assert again.exit_code == 0, again.stderr
    assert results(tmp_path / "out") == NAMES
    assert sum(gallery.tries.values()) <= len(NAMES) + 4


@pytest.mark.parametrize(
    ("name", "workers"),
    [("SIGINT", ["--processes", 2]), ("SIGTERM", ["--processes", 2]), ("SIGINT", ["--dask", "local:2", "--send-key"])],
)
def test_a_signal_lets_the_requests_in_flight_end_and_saves_all_answers(
    start_batch: Start, batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path, name: str, workers: list[object]
) -> None:
    """The terminal signals all processes at once."""
    draw(*NAMES)
    reached = reach(gallery, 40, seconds=0.5)
    running = start_batch(*COMMAND, *workers, start_new_session=True)
    assert reached.wait(60)
    os.killpg(running.pid, signal.Signals[name])
    _, stderr = running.communicate(timeout=60)
    assert running.returncode == 130, stderr
    assert b"hint: To continue, run the same command again." in stderr
    assert results(tmp_path / "out") == []
    gallery.rule = lambda name, _: answer(name, 0)
    again = batch(*COMMAND)
    assert again.exit_code == 0, again.stderr
    assert results(tmp_path / "out") == NAMES
    assert sum(gallery.tries.values()) == len(NAMES)
