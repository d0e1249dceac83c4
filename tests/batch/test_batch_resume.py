"""Runs that are killed, stopped, repeated, or share a results file."""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ..support.gallery import REFUSED, Batch, Draw, Gallery, answered, lines, numbered, source, texts
from ..support.server import USAGE, Hold, Pause, Reply, document, refusal


@pytest.mark.parametrize("ordered", [[], ["--ordered"]])
def test_killed_at_any_moment_nothing_is_lost_and_nothing_is_answered_twice(
    start_batch: Callable[..., subprocess.Popen[bytes]],
    draw: Draw,
    gallery: Gallery,
    tmp_path: Path,
    ordered: list[str],
) -> None:
    """With ``--ordered``, an early image is slow, so that all others have to wait for it."""
    names = numbered(120)
    draw(*names)
    at_once, kills = 4, 5
    results = tmp_path / "r.jsonl"
    for kill in range(1, kills + 1):
        reached = threading.Event()

        def rule(name: str, _: int, *, reached: threading.Event = reached, until: int = 20 * kill) -> Reply:
            if sum(gallery.tries.values()) >= until:
                reached.set()
            reply = document(f"This is {name}.")
            seconds = 5.0 if ordered and int(name[:4]) % 40 == 0 else 0.01
            return Reply([Pause(seconds), *reply.pieces], headers=reply.headers)

        gallery.rule = rule
        running = start_batch("photos", "caption", "-o", results, "-j", at_once, *ordered)
        assert reached.wait(30)
        running.kill()
        running.communicate()
    gallery.rule = answered
    last = start_batch("photos", "caption", "-o", results, "-j", at_once, *ordered)
    last.communicate(timeout=60)
    found = lines(results)
    assert last.returncode == 0
    sources = [source(line) for line in found if line["ok"]]
    assert (sources if ordered else sorted(sources)) == names
    assert sum(gallery.tries.values()) <= len(names) + at_once * kills
    assert sorted(os.listdir(tmp_path)) == ["photos", "r.jsonl"]


@pytest.mark.parametrize("results", ["r.jsonl", "r" * 255], ids=["short", "long"])
def test_answers_that_waited_in_a_killed_run_are_written_by_one_without_order(
    start_batch: Callable[..., subprocess.Popen[bytes]],
    batch: Batch,
    draw: Draw,
    gallery: Gallery,
    tmp_path: Path,
    results: str,
) -> None:
    names = numbered(10)
    draw(*names)
    all_asked = threading.Event()

    def rule(name: str, number: int) -> Reply:
        if name == names[-1]:
            all_asked.set()
        return Reply([Hold()]) if name in {names[0], names[-1]} else answered(name, number)

    gallery.rule = rule
    running = start_batch("photos", "caption", "-o", results, "-j", 2, "--ordered")
    assert all_asked.wait(30)
    running.kill()
    running.communicate()
    assert lines(tmp_path / results) == []
    gallery.rule = answered
    assert batch("photos", "caption", "-o", results).exit_code == 0
    assert sorted(map(source, lines(tmp_path / results))) == names
    assert sum(gallery.tries.values()) == len(names) + 2
    assert sorted(os.listdir(tmp_path)) == ["photos", results]


@pytest.mark.parametrize("runs", [2, 4])
def test_runs_that_share_a_results_file_divide_the_work(
    start_batch: Callable[..., subprocess.Popen[bytes]], draw: Draw, gallery: Gallery, tmp_path: Path, runs: int
) -> None:
    """No answer comes before each of them is asking, so all of them meet the same images."""
    names = numbered(60)
    draw(*names)
    all_ask = threading.Event()

    def rule(name: str, number: int) -> Reply:
        if sum(gallery.tries.values()) >= 4 * runs:
            all_ask.set()
        return Reply([Hold(all_ask), *answered(name, number).pieces], headers=answered(name, number).headers)

    gallery.rule = rule
    started = [start_batch("photos", "caption", "-o", "r.jsonl", "-j", 4, "--sidecar", "txt") for _ in range(runs)]
    said = [run.communicate(timeout=60)[1].decode() for run in started]
    assert [run.returncode for run in started] == [0] * runs
    assert gallery.tries == dict.fromkeys(names, 1)
    assert sorted(map(source, lines(tmp_path / "r.jsonl"))) == names
    assert sum(int(told) for text in said for told in re.findall(r"(\d+) (?:described|skipped)", text)) == 60 * runs
    assert sorted(os.listdir(tmp_path)) == ["photos", "r.jsonl"]


def test_images_of_a_killed_run_are_taken_over_by_a_parallel_run(
    start_batch: Callable[..., subprocess.Popen[bytes]], draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    names = numbered(30)
    draw(*names)
    one_asks, both_ask, never = threading.Event(), threading.Event(), threading.Event()

    def rule(name: str, number: int) -> Reply:
        if sum(gallery.tries.values()) == 8:
            one_asks.set()
        if sum(gallery.tries.values()) > 8:
            both_ask.set()
        return answered(name, number) if both_ask.is_set() else Reply([Hold(never)])

    gallery.rule = rule
    doomed = start_batch("photos", "caption", "-o", "r.jsonl", "-j", 8)
    assert one_asks.wait(30)
    heir = start_batch("photos", "caption", "-o", "r.jsonl", "-j", 1)
    assert both_ask.wait(30)
    doomed.kill()
    doomed.communicate()
    heir.communicate(timeout=60)
    assert heir.returncode == 0
    assert sorted(map(source, lines(tmp_path / "r.jsonl"))) == names
    assert sum(gallery.tries.values()) == len(names) + 8


def test_an_image_that_fails_in_one_run_is_tried_by_a_parallel_run(
    start_batch: Callable[..., subprocess.Popen[bytes]], draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    draw("a.png", "b.png")
    one_asks, other_asks = threading.Event(), threading.Event()

    def rule(name: str, number: int) -> Reply:
        one_asks.set()
        if name == "a.png" and number == 1:
            return Reply([Hold(other_asks), *REFUSED.pieces], status=400, headers=REFUSED.headers)
        other_asks.set()
        return answered(name, number)

    gallery.rule = rule
    first = start_batch("photos/a.png", "caption", "-o", "r.jsonl")
    assert one_asks.wait(30)
    second = start_batch("photos", "caption", "-o", "r.jsonl")
    for run in (first, second):
        run.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (7, 0)
    assert texts(lines(tmp_path / "r.jsonl")) == {"a.png": "This is a.png.", "b.png": "This is b.png."}


def failed_images(path: Path) -> list[str]:
    return [Path(json.loads(line)["image"]).name for line in path.read_text().splitlines()]


def test_images_that_a_run_does_not_reach_stay_in_the_failure_list(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    draw("a.png", "b.png", "c.png")
    gallery.rule = lambda *_: REFUSED
    listing = tmp_path / "f.jsonl"
    asking = ["photos", "caption", "-o", "r.jsonl", "--failures", "f.jsonl", "--ordered"]
    assert batch(*asking).exit_code == 7
    assert failed_images(listing) == ["a.png", "b.png", "c.png"]
    assert batch(*asking, "--max-time", "0.000001").exit_code == 7
    assert batch(*asking, "--base-url", "http://127.0.0.1:9", "--patience", 0).exit_code == 5
    assert failed_images(listing) == ["a.png", "b.png", "c.png"]
    gallery.rule = lambda name, _: REFUSED if name == "b.png" else answered(name, 1)
    assert batch("photos/b.png", "photos/c.png", *asking[1:]).exit_code == 7
    assert failed_images(listing) == ["a.png", "b.png"]
    gallery.rule = answered
    assert batch(*asking).exit_code == 0
    assert (failed_images(listing), sorted(os.listdir(tmp_path))) == ([], ["f.jsonl", "photos", "r.jsonl"])


def test_a_killed_run_leaves_the_failure_list_and_a_stopped_run_updates_it(
    start_batch: Callable[..., subprocess.Popen[bytes]], batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    draw("a.png", "b.png")
    gallery.rule = lambda *_: REFUSED
    asking = ["photos", "caption", "--failures", "f.jsonl", "-j", 1]
    batch(*asking)
    before = (tmp_path / "f.jsonl").read_bytes()
    for number, stop in ((signal.SIGKILL, None), (signal.SIGINT, 130)):
        asked, names = threading.Event(), list[str]()

        def rule(name: str, _: int, *, asked: threading.Event = asked, names: list[str] = names) -> Reply:
            names.append(name)
            if len(names) > 1:
                asked.set()
                return Reply([Hold()])
            return answered(name, 1)

        gallery.rule = rule
        run = start_batch(*asking)
        assert asked.wait(30)
        run.send_signal(number)
        run.communicate(timeout=60)
        assert stop is None or run.returncode == stop
        left = (tmp_path / "f.jsonl").read_bytes()
        assert (left == before) is (stop is None)
    assert failed_images(tmp_path / "f.jsonl") == names[1:]
    assert sorted(os.listdir(tmp_path)) == ["f.jsonl", "photos"]


@pytest.mark.parametrize("content", [b"\x89PNG\r\n", b"mine", b'{"image": "a.jpg"}\n', b"[]\n", bytes(9)])
def test_a_failure_list_never_replaces_another_file(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path, content: bytes
) -> None:
    draw("a.png")
    (tmp_path / "mine").write_bytes(content)
    run = batch("photos", "caption", "--failures", "mine")
    assert (run.exit_code, sum(gallery.tries.values())) == (2, 0)
    assert "error: --failures mine is not a failure list, and was not changed" in run.stderr
    assert (tmp_path / "mine").read_bytes() == content


def test_another_run_requests_only_missing_answers(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    draw("a.png", "b.png")
    batch("photos", "caption", "-o", "r.jsonl")
    draw("c.png")
    again = batch("photos", "caption", "-o", "r.jsonl")
    assert (again.exit_code, dict(gallery.tries)) == (0, {"a.png": 1, "b.png": 1, "c.png": 1})
    assert "1 described, 2 skipped" in again.stderr


@pytest.mark.parametrize(
    "change",
    [
        ["another prompt"],
        ["caption", "-m", "other"],
        ["caption", "-s", "Be brief."],
        ["caption", "--quality", "50"],
        ["caption", "--offline"],
    ],
)
def test_a_change_that_shapes_the_answer_makes_a_new_request(
    batch: Batch, draw: Draw, tmp_path: Path, change: list[str]
) -> None:
    draw("a.png")
    first, second = (batch("photos", *arguments, "-o", tmp_path / "r.jsonl") for arguments in (["caption"], change))
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert len({line["key"] for line in lines(tmp_path / "r.jsonl")}) == 2


def test_failed_images_are_retried_and_have_one_line_in_the_end(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    draw("a.png", "b.png")
    gallery.rule = lambda name, _: REFUSED if name == "a.png" else answered(name, 1)
    assert batch("photos", "-o", "r.jsonl").exit_code == 7
    gallery.rule = answered
    assert batch("photos", "-o", "r.jsonl").exit_code == 0
    assert sorted((source(line), line["ok"]) for line in lines(tmp_path / "r.jsonl")) == [
        ("a.png", True),
        ("b.png", True),
    ]


def test_force_requests_every_image_again(batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path) -> None:
    draw("a.png")
    shutil.copy(tmp_path / "photos" / "a.png", tmp_path / "photos" / "same.png")
    for force in ([], ["--force"]):
        assert batch("photos", "-o", "r.jsonl", *force).exit_code == 0
    assert gallery.tries["a.png"] == 2


def test_equal_images_are_requested_once(batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path) -> None:
    (first,) = draw("a.png")
    for name in ("b.png", "c.png"):
        shutil.copy(first, tmp_path / "photos" / name)
    found = batch("photos", "caption", "--ordered").json_lines
    assert gallery.tries == {"a.png": 1}
    assert {line["text"] for line in found} == {"This is a.png."}
    asked = [line for line in found if line["duplicate_of"] is None]
    assert [line["usage"] for line in asked] == [USAGE]
    assert {(line["duplicate_of"], line["usage"], line["attempts"]) for line in found if line not in asked} == {
        (asked[0]["images"][0]["source"], None, 0)
    }


def test_a_renamed_image_is_recognized_and_gets_a_line_for_its_new_name(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    (old,) = draw("a.png")
    batch("photos", "-o", "r.jsonl")
    old.rename(old.with_name("b.png"))
    assert batch("photos", "-o", "r.jsonl").exit_code == 0
    assert batch("photos", "-o", "r.jsonl").exit_code == 0
    assert gallery.tries == {"a.png": 1}
    assert [source(line) for line in lines(tmp_path / "r.jsonl")] == ["a.png", "b.png"]


def test_an_image_that_the_list_has_twice_is_done_once(batch: Batch, draw: Draw) -> None:
    draw("a.png")
    assert len(batch("--from", "-", "caption", stdin=b"photos/a.png\nphotos/a.png\n").json_lines) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_lets_requests_finish_and_loses_nothing(
    start_batch: Callable[..., subprocess.Popen[bytes]],
    draw: Draw,
    gallery: Gallery,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    draw(*numbered(40))
    hold, asked = Hold(), threading.Semaphore(0)

    def rule(name: str, _: int) -> Reply:
        asked.release()
        return Reply([hold, *document(f"This is {name}.").pieces], headers={})

    gallery.rule = rule
    running = start_batch("photos", "-o", "r.jsonl", "-j", 4)
    for _ in range(4):
        assert asked.acquire(timeout=30)
    running.send_signal(number)
    assert running.stderr is not None
    notice = running.stderr.readline()  # while they are waited for
    assert b": waiting up to 5 s for 4 requests in flight; a second Ctrl-C quits at once" in notice
    hold.event.set()
    _, stderr = running.communicate(timeout=30)
    assert running.returncode == 130
    assert b"stopped by" in stderr
    assert b"36 of 40 images are left" in stderr
    assert b"To continue, run the same command again." in stderr
    assert len(lines(tmp_path / "r.jsonl")) == 4


def test_the_second_ctrl_c_quits_at_once(
    start_batch: Callable[..., subprocess.Popen[bytes]], draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    draw(*numbered(10))
    asked = threading.Event()

    def rule(name: str, _: int) -> Reply:
        if name == "0000.png":
            return answered(name, 1)
        asked.set()
        return Reply([Hold()])

    gallery.rule = rule
    running = start_batch("photos", "-o", "r.jsonl", "-j", 2)
    assert asked.wait(30)
    while running.poll() is None:  # however far it has come, the second one that arrives ends it
        running.send_signal(signal.SIGINT)
        try:
            running.wait(0.3)
        except subprocess.TimeoutExpired:
            continue
    running.communicate()
    assert running.returncode == 130
    assert [source(line) for line in lines(tmp_path / "r.jsonl")] in ([], ["0000.png"])


def test_a_closed_pipe_ends_the_run_quietly(
    start_batch: Callable[..., subprocess.Popen[bytes]], draw: Draw, gallery: Gallery
) -> None:
    draw(*numbered(300))
    running = start_batch("photos", "-j", 2)
    assert running.stdout is not None
    assert running.stdout.readline().startswith(b'{"schema_version":1')
    running.stdout.close()
    assert running.stderr is not None
    with running.stderr:
        assert (running.stderr.read(), running.wait(30)) == (b"", 1)
    assert sum(gallery.tries.values()) < 300


def test_a_full_disk_is_reported_as_an_error(start_batch: Callable[..., subprocess.Popen[bytes]], draw: Draw) -> None:
    draw("a.png")
    with open("/dev/full", "wb") as full:
        running = start_batch("photos", stdout=full)
        _, stderr = running.communicate(timeout=30)
    assert running.returncode == 1
    assert b"cannot write to standard output" in stderr
    assert b"120 \xe2\x86\x92 48 tokens" in stderr  # which were paid for
    assert b"1 of 1 images are left" in stderr


def test_a_dry_run_counts_equal_images_once(batch: Batch, draw: Draw) -> None:
    first, second, _ = draw("a.png", "b.png", "c.png")
    for number in range(5):
        shutil.copy(first, first.with_name(f"copy{number}.png"))
    first.with_name("link.png").symlink_to(second)
    says = "9 images: 3 to describe, 6 duplicates, 0 already done, 0 unreadable"
    assert batch("photos", "caption", "--dry-run").stdout.decode().splitlines()[0] == says
    piped = batch("-", "caption", "--dry-run", stdin=first.read_bytes())
    assert b"about 74 input tokens" in piped.stdout
    batch("photos/c.png", "caption", "-o", "r.jsonl")
    told = batch("photos", "caption", "--dry-run", "-o", "r.jsonl").stdout.decode().splitlines()[0]
    assert told == "9 images: 2 to describe, 6 duplicates, 1 already done, 0 unreadable"


def test_what_an_endpoint_refuses_of_think_is_tried_once_for_a_whole_run_and_belongs_to_the_key(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    draw(*numbered(4))
    bodies: list[dict[str, object]] = []

    def rule(name: str, number: int) -> Reply:
        bodies.append(gallery.asked[-1].json)
        if "enable_thinking" in bodies[-1]:
            return refusal(400, {"error": {"message": "Unrecognized request argument supplied: enable_thinking"}})
        return answered(name, number)

    gallery.rule = rule
    arguments = ("photos", "caption", "-o", "r.jsonl", "-j", 1)
    run = batch(*arguments, "--think", "off")
    assert run.exit_code == 0
    sent = [
        {name: body[name] for name in ("enable_thinking", "chat_template_kwargs") if name in body} for body in bodies
    ]
    template = {"chat_template_kwargs": {"enable_thinking": False}}
    assert sent == [{"enable_thinking": False}, template, template, template, template]
    note = '--think off was sent as chat_template_kwargs: {"enable_thinking": false}'
    assert {line["warnings"][-1] for line in lines(tmp_path / "r.jsonl")} == {note}
    batch(*arguments, "--think", "off")
    assert len(bodies) == 5
    batch(*arguments)
    assert len(bodies) == 9
