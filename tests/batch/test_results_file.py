"""The results file stays the truth: a full disk, signals, and other programs that change the file during a run."""

import resource
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ..support.gallery import Draw, Gallery, answered, lines, numbered, source
from ..support.server import Hold, Reply, document

Start = Callable[..., subprocess.Popen[bytes]]


def limit_file_size(run: subprocess.Popen[bytes], size: int) -> None:
    """A limit on the size of a file stands in for a full disk."""
    resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def start_with_full_disk(start_batch: Start, gallery: Gallery, *options: object) -> subprocess.Popen[bytes]:
    """A run with four requests in flight, for which there is no room."""
    four_ask, limited = threading.Event(), threading.Event()

    def rule(name: str, number: int) -> Reply:
        if sum(gallery.tries.values()) >= 4:
            four_ask.set()
        return Reply([Hold(limited), *answered(name, number).pieces], headers=answered(name, number).headers)

    gallery.rule = rule
    run = start_batch("photos", "caption", "-o", "r.jsonl", "-j", 4, *options)
    assert four_ask.wait(30)
    limit_file_size(run, 100)
    limited.set()
    return run


def test_no_request_begins_while_the_disk_is_full_and_all_is_written_when_there_is_room(
    start_batch: Start, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    names = numbered(12)
    draw(*names)
    run = start_with_full_disk(start_batch, gallery)
    assert run.stderr is not None
    assert b"cannot write r.jsonl: No space left on device: no new requests" in run.stderr.readline()
    assert sum(gallery.tries.values()) == 4
    limit_file_size(run, resource.RLIM_INFINITY)
    run.communicate(timeout=60)
    assert (run.returncode, sorted(map(source, lines(tmp_path / "r.jsonl")))) == (0, names)
    assert sum(gallery.tries.values()) == 12


def test_answers_for_which_there_is_no_room_are_counted(
    start_batch: Start, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    draw(*numbered(12))
    run = start_with_full_disk(start_batch, gallery, "--patience", 0.3)
    _, stderr = run.communicate(timeout=60)
    assert (run.returncode, sum(gallery.tries.values()), lines(tmp_path / "r.jsonl")) == (1, 4, [])
    assert (
        b"error: cannot write r.jsonl: No space left on device; 4 answers were lost; 12 of 12 images are left" in stderr
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_arrives_twice_is_one(
    start_batch: Start, draw: Draw, gallery: Gallery, tmp_path: Path, number: signal.Signals
) -> None:
    """As from ``timeout``, which signals the process and then its group."""
    draw(*numbered(10))
    hold, asked = Hold(), threading.Semaphore(0)

    def rule(name: str, _: int) -> Reply:
        asked.release()
        return Reply([hold, *document(f"This is {name}.").pieces], headers={})

    gallery.rule = rule
    run = start_batch("photos", "-o", "r.jsonl", "-j", 3)
    for _ in range(3):
        assert asked.acquire(timeout=30)
    run.send_signal(number)
    assert run.stderr is not None
    assert b": waiting up to 5 s for 3 requests in flight" in run.stderr.readline()
    run.send_signal(number)
    hold.event.set()
    run.communicate(timeout=30)
    assert (run.returncode, len(lines(tmp_path / "r.jsonl"))) == (130, 3)
