"""The results file stays the truth: a full disk, signals, and other programs that change the file during a run."""

import os
import resource
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ..conftest import KEY, Qvision
from ..support.gallery import Batch, Draw, Gallery, answered, lines, numbered, source
from ..support.server import Asked, Hold, Reply, document, refusal

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


def replace_by_copy(path: Path) -> None:
    """As an editor that saves, with a version from before the last answers."""
    path.with_name("new").write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:1]))
    path.with_name("new").replace(path)


def overwrite(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40] + b" " * 200 + b"\n")


CHANGES: dict[str, Callable[[Path], object]] = {
    "replaced": replace_by_copy,
    "deleted": Path.unlink,
    "renamed": lambda path: path.rename(path.with_name("other.jsonl")),
    "emptied": lambda path: path.write_bytes(b""),
    "shortened": lambda path: os.truncate(path, path.stat().st_size // 2),
    "overwritten": overwrite,
}


def change_during_run(
    start_batch: Start, gallery: Gallery, results: Path, change: Callable[[Path], object], *, left: int
) -> tuple[int, str]:
    """Run until ``left`` images are left, change the results file, and let the run go on."""
    reached, changed = threading.Event(), threading.Event()
    count = len(gallery.names)

    def rule(name: str, number: int) -> Reply:
        if sum(gallery.tries.values()) <= count - left:
            return answered(name, number)
        reached.set()
        return Reply([Hold(changed), *answered(name, number).pieces], headers=answered(name, number).headers)

    gallery.rule = rule
    run = start_batch("photos", "caption", "-o", results, "-j", 1)
    assert reached.wait(30)
    change(results)
    changed.set()
    stderr = run.communicate(timeout=60)[1].decode()
    return run.returncode, stderr


@pytest.mark.parametrize("left", [1, 3])
@pytest.mark.parametrize("kind", CHANGES)
def test_whatever_happens_to_the_results_file_during_a_run_it_has_every_answer_at_the_end(
    start_batch: Start, draw: Draw, gallery: Gallery, tmp_path: Path, kind: str, left: int
) -> None:
    names = numbered(8)
    draw(*names)
    results = tmp_path / "r.jsonl"
    exit_code, stderr = change_during_run(start_batch, gallery, results, CHANGES[kind], left=left)
    assert (exit_code, sorted(map(source, lines(results)))) == (0, names), stderr
    assert "r.jsonl was changed by another program" in stderr
    assert dict(gallery.tries) == dict.fromkeys(names, 1)


def replace_by_other_file(path: Path) -> None:
    path.with_name("new").write_text("Dear diary,\n" * 3)
    path.with_name("new").replace(path)


@pytest.mark.parametrize(("change", "reason"), [(replace_by_other_file, "replaced"), (shutil.rmtree, "deleted")])
def test_if_it_is_no_results_file_any_more_the_answers_are_kept_in_a_file_that_is_named(
    start_batch: Start, draw: Draw, gallery: Gallery, tmp_path: Path, change: Callable[[Path], object], reason: str
) -> None:
    draw(*numbered(8))
    results = tmp_path / "folder" / "r.jsonl"
    results.parent.mkdir()
    changing = results.parent if change is shutil.rmtree else results
    exit_code, stderr = change_during_run(start_batch, gallery, results, lambda _: change(changing), left=4)
    rescued = (tmp_path if change is shutil.rmtree else results.parent) / "r.jsonl.rescued"
    assert (exit_code, len(lines(rescued))) == (1, 5), stderr
    assert f"error: {results} was {reason}" in stderr
    assert f"so the answers of this run are in {rescued}; 3 of 8 images are left" in stderr
    assert sum(gallery.tries.values()) == 5


def test_the_same_names_in_two_folders_are_two_images(
    qvision: Qvision, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    draw("A/x.png", "A/y.png", "B/x.png", "B/y.png")
    env = {"QUBRID_API_KEY": KEY, "QUBRID_BASE_URL": gallery.url}
    for folder in "ABAB":
        run = qvision("batch", ".", "caption", "-o", "../../r.jsonl", env=env, cwd=tmp_path / "photos" / folder)
        assert run.exit_code == 0
    found = lines(tmp_path / "r.jsonl")
    assert sorted((source(line), line["path"], line["text"]) for line in found) == [
        (name, f"photos/{folder}/{name}", f"This is {folder}/{name}.") for name in ("x.png", "y.png") for folder in "AB"
    ]
    assert sum(gallery.tries.values()) == 4


def test_rows_with_the_same_image_and_another_id_have_a_line_each(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    draw("a.png")
    rows = b"".join(b'{"image": "photos/a.png", "id": %d}\n' % number for number in (1, 2, 2, 3))
    for _ in range(2):
        assert batch("--from", "-", "caption", "-o", "r.jsonl", stdin=rows).exit_code == 0
        assert sorted(line["source_id"] for line in lines(tmp_path / "r.jsonl")) == [1, 2, 3]
    assert gallery.tries == {"a.png": 1}


def test_images_that_are_done_are_not_read_again(batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path) -> None:
    """They have become unreadable, with the same size and time; ``--verify`` reads them."""
    first, second = draw("a.png", "b.png")
    pictures = [first, second.rename(tmp_path / "7")]  # as if the whole path were the number of a page
    for picture in pictures:
        os.utime(picture, ns=(1_700_000_000_123_456_789,) * 2)
    assert batch("photos", "7", "caption", "-o", "r.jsonl").exit_code == 0
    for picture in pictures:
        picture.write_bytes(bytes(picture.stat().st_size))
        os.utime(picture, ns=(1_700_000_000_123_456_789,) * 2)
    again = batch("photos", "7", "caption", "-o", "r.jsonl")
    assert (again.exit_code, sum(gallery.tries.values())) == (0, 2)
    assert "0 described, 2 skipped" in again.stderr
    assert batch("photos", "7", "caption", "-o", "r.jsonl", "--verify").exit_code == 7
    os.utime(pictures[0])
    assert batch("photos", "7", "caption", "-o", "r.jsonl").exit_code == 7
    assert batch("photos", "7", "another question", "-o", "r.jsonl").exit_code == 7


def test_links_that_are_done_are_not_downloaded_again(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    (path,) = draw("a.png")
    inner, downloads = gallery.answer, []
    assert callable(inner)

    def answer(asked: Asked) -> Reply:
        if asked.method != "GET":
            return inner(asked)
        downloads.append(asked.path)
        return Reply([path.read_bytes()], headers={"Content-Type": "image/png"})

    gallery.answer = answer
    options = (f"{gallery.url}/a.png", "-p", "caption", "--fetch", "-o", "r.jsonl")
    assert [batch(*options, *verify).exit_code for verify in ((), (), ("--verify",))] == [0, 0, 0]
    assert (len(downloads), gallery.tries) == (2, {"a.png": 1})


def test_an_answer_that_is_cut_off_is_requested_so_often_over_all_runs_as_retries_says(
    batch: Batch, draw: Draw, gallery: Gallery
) -> None:
    draw("a.png", "b.png")
    cut = document("This is").pieces[0]
    assert isinstance(cut, bytes)
    cut_off = Reply([cut.replace(b'"stop"', b'"length"')], headers=document("").headers)
    gallery.rule = lambda name, number: cut_off if name == "a.png" else answered(name, number)
    asking = ["photos", "caption", "-o", "r.jsonl", "--retries", 2]
    assert [batch(*asking).exit_code for _ in range(4)] == [7] * 4
    assert gallery.tries == {"a.png": 2, "b.png": 1}
    last = batch(*asking)
    assert "1 image was not requested again, because the answer was cut off" in last.stderr
    assert last.stderr.endswith("hint: To retry them, run the same command with --retry-incomplete.\n")
    assert batch("photos", "another question", *asking[2:]).exit_code == 7
    assert batch(*asking, "--retry-incomplete").exit_code == 7
    assert gallery.tries == {"a.png": 4, "b.png": 2}


@pytest.mark.parametrize("results", ["r.jsonl", "r" * 255], ids=["short", "long"])
def test_a_stopped_run_with_force_goes_on_where_it_stopped(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path, results: str
) -> None:
    names = numbered(12)
    draw(*names)
    assert batch("photos", "caption", "-o", results).exit_code == 0
    again = ["photos", "caption", "-o", results, "--force", "-j", 1]
    gallery.rule = lambda name, _: refusal(402, {}) if sum(gallery.tries.values()) == 18 else answered(name, 2)
    assert batch(*again).exit_code == 5
    gallery.rule = answered
    goes_on = batch(*again)
    assert goes_on.exit_code == 0
    assert f"continuing the last run with --force, of which {results} has 5 lines" in goes_on.stderr
    assert sum(gallery.tries.values()) == 12 + 12 + 1
    assert batch(*again).exit_code == 0
    assert sum(gallery.tries.values()) == 12 + 12 + 1 + 12
    assert sorted(map(source, lines(tmp_path / results))) == names
    assert sorted(os.listdir(tmp_path)) == ["photos", results]


def test_a_terminal_that_is_closed_ends_the_run_after_its_requests(
    start_batch: Start, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    """Nothing can be shown any more, and the process gets SIGHUP."""
    draw(*numbered(10))
    hold, asked = Hold(), threading.Semaphore(0)

    def rule(name: str, _: int) -> Reply:
        asked.release()
        return Reply([hold, *document(f"This is {name}.").pieces], headers={})

    gallery.rule = rule
    terminal, end = os.openpty()
    run = start_batch("photos", "-o", "r.jsonl", "-j", 3, stdout=end, stderr=end)
    os.close(end)
    for _ in range(3):
        assert asked.acquire(timeout=30)
    os.close(terminal)
    run.send_signal(signal.SIGHUP)
    hold.event.set()
    assert (run.wait(30), len(lines(tmp_path / "r.jsonl"))) == (130, 3)
