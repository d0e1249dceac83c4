"""``qvision batch`` as its users meet it: the real program, a real server that fails by rule, real files."""

import asyncio
import base64
import hashlib
import json
import os
import pickle
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pexpect
import pytest
from PIL import Image

from qubrid_cli.batch import tasks
from qubrid_cli.batch.budget import Budget, BudgetLimits, FailureLimit
from qubrid_cli.batch.inputs import BatchInputs, Task
from qubrid_cli.batch.journal import Journal, WorkSharing
from qubrid_cli.batch.rate import FixedConcurrency, RateLimiter
from qubrid_cli.batch.run import BatchRun
from qubrid_cli.batch.tasks import BatchPlan, Done, Failed, Idle, OutcomeWriter
from qubrid_cli.batch.workers import Workers
from qubrid_cli.client.endpoint import Endpoint
from qubrid_cli.client.request import Request
from qubrid_cli.errors import ImageError
from qubrid_cli.images import encode
from qubrid_cli.images.prepare import PreparedImage
from qubrid_cli.images.sources import File

from ..conftest import KEY, VALIDATOR, Qvision, Run, command, environment
from ..support.server import USAGE, Asked, Hold, Pause, Reply, Server, document, refusal, stream

RESET = Reply(status=0)
BUSY = refusal(429, {"error": {"message": "slow down"}}, **{"Retry-After": "0"})
OVERLOADED = refusal(503, {"error": {"message": "overloaded"}}, **{"Retry-After": "0"})
BROKEN = refusal(500, {"error": {"message": "it crashed"}})
REFUSED = refusal(400, {"error": {"message": "no such picture", "code": "invalid_image"}})

Rule = Callable[[str, int], Reply]


def answered(name: str, _: int) -> Reply:
    return document(f"This is {name}.")


class Gallery(Server):
    """An endpoint that knows the images by name; its rule says what to answer, by name and number of the try."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.tries: Counter[str] = Counter()
        self.rule: Rule = answered
        self.in_flight = self.most_at_once = 0
        super().__init__()
        self.answer = self._by_rule

    def _by_rule(self, asked: Asked) -> Reply:
        contents = [message["content"] for message in asked.json["messages"] if isinstance(message["content"], list)]
        (url,) = [part["image_url"]["url"] for part in contents[0] if part["type"] == "image_url"]
        name = self.names[digest(base64.b64decode(url.partition(",")[2]))]
        self.tries[name] += 1
        return self.rule(name, self.tries[name])

    async def _write(self, reply: Reply, writer: asyncio.StreamWriter) -> None:
        self.in_flight += 1
        self.most_at_once = max(self.most_at_once, self.in_flight)
        try:
            if reply is RESET:
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            else:
                await super()._write(reply, writer)
        finally:
            self.in_flight -= 1


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def gallery() -> Iterator[Gallery]:
    with Gallery() as running:
        yield running


class Draw(Protocol):
    def __call__(self, *names: str | bytes) -> list[Path]: ...


@pytest.fixture
def draw(tmp_path: Path, gallery: Gallery) -> Draw:
    """Makes pictures in ``photos/``, each of its own colour and small enough to be sent as it is."""

    def make(*names: str | bytes) -> list[Path]:
        made = []
        for name in names:
            path = tmp_path / "photos" / os.fsdecode(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            number = len(gallery.names)
            Image.new("RGB", (48, 32), (number % 256, number // 256, 99)).save(path, "PNG")
            gallery.names[digest(path.read_bytes())] = os.fsdecode(name)
            made.append(path)
        return made

    return make


def numbered(count: int) -> list[str]:
    return [f"{number:04}.png" for number in range(count)]


class Batch(Protocol):
    def __call__(self, *arguments: object, stdin: bytes | None = None, env: Mapping[str, str] = ...) -> Run: ...


@pytest.fixture
def batch(qvision: Qvision, gallery: Gallery) -> Batch:
    def run(*arguments: object, stdin: bytes | None = None, env: Mapping[str, str] = {}) -> Run:
        known = {"QUBRID_API_KEY": KEY, "QUBRID_BASE_URL": gallery.url}
        done = qvision("batch", *arguments, stdin=stdin, env={**known, **env})
        assert KEY not in done.stderr
        assert KEY.encode() not in done.stdout
        return done

    return run


@pytest.fixture
def begun(gallery: Gallery, tmp_path: Path) -> Callable[..., subprocess.Popen[bytes]]:
    """Starts the program and leaves it alone."""

    def start(*arguments: object, **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command("batch", *arguments),
            env=environment({"QUBRID_API_KEY": KEY, "QUBRID_BASE_URL": gallery.url}),
            cwd=tmp_path,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )

    return start


def lines(path: Path) -> list[Any]:
    """The lines of a results file, each held against the schema."""
    found = [json.loads(line) for line in path.read_text().split("\n")[:-1]]
    for one in found:
        VALIDATOR.validate(one)
    return found


def source(line: Any) -> str:
    return os.path.basename(str(line["images"][0]["source"]))


def texts(found: list[Any]) -> dict[str, str]:
    return {source(line): line["text"] for line in found if line["ok"]}


def test_every_image_of_a_folder_gets_a_line(batch: Batch, draw: Draw) -> None:
    draw("a.png", "b/c.png", ".hidden.png", "notes.txt")
    run = batch("photos", "caption")
    assert run.exit_code == 0
    assert texts(run.json_lines) == {"a.png": "This is a.png.", "c.png": "This is b/c.png."}


def test_a_line_is_the_object_of_describe_and_what_only_a_run_has(batch: Batch, draw: Draw) -> None:
    draw("a.png")
    (line,) = batch("photos", "caption").json_lines
    assert (line["prompt"], line["usage"], line["ok"], line["complete"]) == ("caption", USAGE, True, True)
    assert (line["index"], line["attempts"], line["source_id"], line["duplicate_of"]) == (1, 1, None, None)
    assert re.fullmatch("[0-9a-f]{64}", line["key"])


def test_an_answer_that_is_too_long_to_keep_is_a_failure(draw: Draw) -> None:
    draw("a.png")
    question = tasks.BatchRequest(Request("m", "caption", (), 9, 0.1, 1.0), encode.ImageLimits())
    record = tasks.build_unsent_result(Task(1, "photos/a.png"), question, ImageError("none")).record
    answer = tasks.AttemptResult(record | {"ok": True, "complete": True, "text": "x" * (64 << 20)})
    ended = OutcomeWriter(question).build_outcome(Task(1, "photos/a.png"), "ab" * 32, answer, attempts=1)
    line = json.loads(ended.line)
    VALIDATOR.validate(line)
    assert (type(ended), line["ok"], line["text"]) == (Failed, False, "")
    assert line["error"]["message"] == "the answer is longer than 64 MiB"


def test_requests_are_not_streamed_unless_that_is_asked_for(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    draw("a.png")
    batch("photos")
    gallery.rule = lambda *_: stream("streamed")
    assert texts(batch("photos", "--stream").json_lines) == {"a.png": "streamed"}
    assert [asked.json["stream"] for asked in gallery.asked] == [False, True]


def test_through_faults_every_image_ends_with_one_line_and_the_failed_ones_can_be_done_again(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    """One request in ten meets 429, 503 or a reset, one image in a hundred is refused for good."""
    names = numbered(200)
    draw(*names)
    dice = random.Random(6)
    bad = {"0042.png", "0142.png"}

    def rule(name: str, number: int) -> Reply:
        if name in bad:
            return REFUSED
        return dice.choice([BUSY, OVERLOADED, RESET]) if dice.random() < 0.1 else answered(name, number)

    gallery.rule = rule
    run = batch("photos", "caption", "-o", "r.jsonl", "--failures", "f.jsonl", "-j", 8)
    found = lines(tmp_path / "r.jsonl")
    assert run.exit_code == 7
    assert sorted(map(source, found)) == names
    assert texts(found) == {name: f"This is {name}." for name in names if name not in bad}
    failed = [json.loads(line) for line in (tmp_path / "f.jsonl").read_text().splitlines()]
    assert {(Path(one["image"]).name, one["prompt"], one["error"]["code"]) for one in failed} == {
        (name, "caption", "invalid_image") for name in bad
    }
    gallery.rule = answered
    again = batch("--from", "f.jsonl", "-o", "r.jsonl")
    assert again.exit_code == 0
    assert texts(lines(tmp_path / "r.jsonl")) == {name: f"This is {name}." for name in names}


def test_killed_at_any_moment_nothing_is_lost_and_nothing_is_answered_twice(
    begun: Callable[..., subprocess.Popen[bytes]], draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
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
            return Reply([Pause(0.01), *reply.pieces], headers=reply.headers)

        gallery.rule = rule
        running = begun("photos", "caption", "-o", results, "-j", at_once)
        assert reached.wait(30)
        running.kill()
        running.communicate()
    last = begun("photos", "caption", "-o", results, "-j", at_once)
    last.communicate(timeout=60)
    found = lines(results)
    assert last.returncode == 0
    assert sorted(source(line) for line in found if line["ok"]) == names
    assert sum(gallery.tries.values()) <= len(names) + at_once * kills


@pytest.mark.parametrize("runs", [2, 4])
def test_runs_that_share_a_results_file_divide_the_work(
    begun: Callable[..., subprocess.Popen[bytes]], draw: Draw, gallery: Gallery, tmp_path: Path, runs: int
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
    started = [begun("photos", "caption", "-o", "r.jsonl", "-j", 4, "--sidecar", "txt") for _ in range(runs)]
    said = [run.communicate(timeout=60)[1].decode() for run in started]
    assert [run.returncode for run in started] == [0] * runs
    assert gallery.tries == dict.fromkeys(names, 1)
    assert sorted(map(source, lines(tmp_path / "r.jsonl"))) == names
    assert sum(int(told) for text in said for told in re.findall(r"(\d+) (?:described|skipped)", text)) == 60 * runs
    assert sorted(os.listdir(tmp_path)) == ["photos", "r.jsonl"]


def test_what_a_killed_run_had_begun_is_done_by_the_one_beside_it(
    begun: Callable[..., subprocess.Popen[bytes]], draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    names = numbered(30)
    draw(*names)
    both_ask, never = threading.Event(), threading.Event()

    def rule(name: str, number: int) -> Reply:
        if sum(gallery.tries.values()) > 8:
            both_ask.set()
        return answered(name, number) if both_ask.is_set() else Reply([Hold(never)])

    gallery.rule = rule
    doomed = begun("photos", "caption", "-o", "r.jsonl", "-j", 8)
    while sum(gallery.tries.values()) < 8:
        assert doomed.poll() is None
    heir = begun("photos", "caption", "-o", "r.jsonl", "-j", 1)
    assert both_ask.wait(30)
    doomed.kill()
    doomed.communicate()
    heir.communicate(timeout=60)
    assert heir.returncode == 0
    assert sorted(map(source, lines(tmp_path / "r.jsonl"))) == names
    assert sum(gallery.tries.values()) == len(names) + 8


def test_what_one_run_fails_at_is_tried_by_the_one_beside_it(
    begun: Callable[..., subprocess.Popen[bytes]], draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    draw("a.png", "b.png")
    other_asks = threading.Event()

    def rule(name: str, number: int) -> Reply:
        if name == "a.png" and number == 1:
            return Reply([Hold(other_asks), *REFUSED.pieces], status=400, headers=REFUSED.headers)
        other_asks.set()
        return answered(name, number)

    gallery.rule = rule
    first = begun("photos/a.png", "caption", "-o", "r.jsonl")
    while not gallery.tries["a.png"]:
        assert first.poll() is None
    second = begun("photos", "caption", "-o", "r.jsonl")
    for run in (first, second):
        run.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (7, 0)
    assert texts(lines(tmp_path / "r.jsonl")) == {"a.png": "This is a.png.", "b.png": "This is b.png."}


def failed_images(path: Path) -> list[str]:
    return [Path(json.loads(line)["image"]).name for line in path.read_text().splitlines()]


def test_what_a_run_does_not_come_to_stays_in_the_list_of_failures(
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


def test_a_killed_run_leaves_the_list_of_failures_as_it_was_and_a_stopped_one_what_it_knows(
    begun: Callable[..., subprocess.Popen[bytes]], batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path
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
        run = begun(*asking)
        assert asked.wait(30)
        run.send_signal(number)
        run.communicate(timeout=60)
        assert stop is None or run.returncode == stop
        left = (tmp_path / "f.jsonl").read_bytes()
        assert (left == before) is (stop is None)
    assert failed_images(tmp_path / "f.jsonl") == names[1:]
    assert sorted(os.listdir(tmp_path)) == ["f.jsonl", "photos"]


@pytest.mark.parametrize("content", [b"\x89PNG\r\n", b"mine", b'{"image": "a.jpg"}\n', b"[]\n", bytes(9)])
def test_a_list_of_failures_never_takes_the_place_of_something_else(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path, content: bytes
) -> None:
    draw("a.png")
    (tmp_path / "mine").write_bytes(content)
    run = batch("photos", "caption", "--failures", "mine")
    assert (run.exit_code, sum(gallery.tries.values())) == (2, 0)
    assert "error: --failures mine is not a failure list, and was not changed" in run.stderr
    assert (tmp_path / "mine").read_bytes() == content


def test_another_run_asks_only_for_what_is_not_there(batch: Batch, draw: Draw, gallery: Gallery) -> None:
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
def test_what_shapes_the_answer_differently_is_asked_anew(
    batch: Batch, draw: Draw, tmp_path: Path, change: list[str]
) -> None:
    draw("a.png")
    first, second = (batch("photos", *arguments, "-o", tmp_path / "r.jsonl") for arguments in (["caption"], change))
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert len({line["key"] for line in lines(tmp_path / "r.jsonl")}) == 2


def test_what_failed_is_done_again_and_has_one_line_in_the_end(
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


def test_force_does_all_again(batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path) -> None:
    draw("a.png")
    shutil.copy(tmp_path / "photos" / "a.png", tmp_path / "photos" / "same.png")
    for force in ([], ["--force"]):
        assert batch("photos", "-o", "r.jsonl", *force).exit_code == 0
    assert gallery.tries["a.png"] == 2


def test_equal_images_are_asked_about_once(batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path) -> None:
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


def test_a_renamed_image_is_recognised_and_gets_a_line_of_its_new_name(
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


def test_lines_come_in_the_order_of_the_images_if_that_is_asked_for(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    names = numbered(30)
    draw(*names)
    dice = random.Random(1)
    gallery.rule = lambda name, _: Reply([Pause(dice.random() / 20), *document(name).pieces], headers={})
    assert [source(line) for line in batch("photos", "--ordered", "-j", 8).json_lines] == names


def test_no_more_requests_are_on_their_way_than_jobs(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    draw(*numbered(30))
    gallery.rule = lambda name, _: Reply([Pause(0.02), *document(name).pieces], headers={})
    batch("photos", "-j", 3)
    assert gallery.most_at_once == 3


def test_an_image_that_breaks_the_server_costs_itself_and_no_other(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    draw(*numbered(12))
    gallery.rule = lambda name, _: BROKEN if name == "0003.png" else answered(name, 1)
    run = batch("photos", "--retries", 1)
    assert (run.exit_code, gallery.tries["0003.png"]) == (7, 2)
    assert [(source(line), line["attempts"], line["error"]["status"]) for line in run.json_lines if not line["ok"]] == [
        ("0003.png", 2, 500)
    ]


def test_an_endpoint_that_is_away_is_waited_for_and_no_image_pays_for_it(
    batch: Batch, draw: Draw, gallery: Gallery
) -> None:
    draw(*numbered(12))
    down = iter(range(20))
    gallery.rule = lambda name, _: answered(name, 1) if next(down, None) is None else BROKEN
    run = batch("photos", "--retries", 1, "-j", 8)
    assert (run.exit_code, len(run.json_lines)) == (0, 12)


def test_patience_has_an_end_and_leaves_the_rest_for_another_run(qvision: Qvision, draw: Draw, tmp_path: Path) -> None:
    draw(*numbered(12))
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
        run = qvision("batch", "photos", "-o", "r.jsonl", "--patience", "0.3", "--base-url", url)
    assert run.exit_code == 5
    assert "no complete answer for 0.3 s: 127.0.0.1:" in run.stderr
    assert "12 of 12 images are left" in run.stderr
    assert lines(tmp_path / "r.jsonl") == []


def test_a_server_that_asks_to_wait_longer_than_that_ends_the_run(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    draw("a.png")
    gallery.rule = lambda *_: refusal(429, {}, **{"Retry-After": "3600"})
    run = batch("photos", "--patience", 60)
    assert run.exit_code == 5
    assert "asks to wait 3600 s, longer than --patience 60" in run.stderr


@pytest.mark.parametrize(
    ("reply", "exit_code", "says"),
    [
        (refusal(401, {"error": {"message": "no"}}), 3, "refused the key"),
        (refusal(402, {"error": {"message": "pay"}}), 5, "no credits left"),
        (
            refusal(404, {"error": {"message": "no such model", "code": "model_not_found"}}),
            5,
            "does not know the model",
        ),
        (refusal(404, {}), 5, "has no chat completions at this address"),
        (refusal(307, {}, Location="http://127.0.0.1:1/"), 5, "redirects to"),
        (Reply([b"<html>hello</html>"]), 5, "a web page"),
    ],
)
def test_what_no_image_would_pass_ends_the_run_at_once(
    batch: Batch, draw: Draw, gallery: Gallery, reply: Reply, exit_code: int, says: str
) -> None:
    draw(*numbered(60))
    gallery.rule = lambda *_: reply
    run = batch("photos")
    assert (run.exit_code, run.stdout) == (exit_code, b"")
    assert says in run.stderr
    assert "60 of 60 images are left" in run.stderr
    assert sum(gallery.tries.values()) <= 4


def test_what_was_answered_before_the_end_is_kept(batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path) -> None:
    draw(*numbered(60))
    spent = iter(range(40))
    gallery.rule = lambda name, _: refusal(402, {}) if next(spent, None) is None else answered(name, 1)
    assert batch("photos", "-o", "r.jsonl").exit_code == 5
    assert len(lines(tmp_path / "r.jsonl")) == 40


def test_what_the_endpoint_refuses_is_left_out_from_then_on(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    draw(*numbered(20))
    inner = gallery.answer
    assert callable(inner)

    def answer(asked: Asked) -> Reply:
        if "top_p" in asked.json:
            return refusal(400, {"error": {"message": "top_p is not supported"}})
        return inner(asked)

    gallery.answer = answer
    run = batch("photos", "-j", 1)
    assert (run.exit_code, len(gallery.asked)) == (0, 21)


def test_images_that_cannot_be_sent_cost_themselves(batch: Batch, draw: Draw, tmp_path: Path, gallery: Gallery) -> None:
    draw("a.png")
    (tmp_path / "photos" / "b.png").write_bytes(b"no image")
    run = batch("photos", "--from", "-", "-p", "caption", stdin=b"nope.png\n")
    assert run.exit_code == 7
    assert {source(line): (line["ok"], line["attempts"], line["key"] is None) for line in run.json_lines} == {
        "a.png": (True, 1, False),
        "b.png": (False, 0, False),
        "nope.png": (False, 0, True),
    }
    assert "failed: " in run.stderr
    assert sum(gallery.tries.values()) == 1


def test_a_path_that_is_misspelt_is_told_of_before_anything_is_asked_or_written(
    batch: Batch, draw: Draw, tmp_path: Path, gallery: Gallery
) -> None:
    draw("a.png")
    run = batch("photos", "./photso/", "caption", "-o", "r.jsonl")
    assert (run.exit_code, sum(gallery.tries.values())) == (4, 0)
    assert run.stderr.startswith("error: no such image: ./photso/\n")
    assert not (tmp_path / "r.jsonl").exists()


def test_a_link_is_passed_on_or_fetched_here_and_its_password_is_shown_nowhere(
    batch: Batch, draw: Draw, gallery: Gallery
) -> None:
    (path,) = draw("a.png")
    inner = gallery.answer
    assert callable(inner)

    def answer(asked: Asked) -> Reply:
        if asked.method == "GET":
            return Reply([path.read_bytes()], headers={"Content-Type": "image/png"})
        url = asked.image_url
        return inner(asked) if url.startswith("data:") else refusal(400, {"error": {"message": f"cannot get {url}"}})

    gallery.answer = answer
    link = gallery.url.replace("http://", "http://me:secret@") + "/a.png"
    fetched, passed_on = (batch(link, "-p", "caption", option) for option in ("--fetch", "--no-fetch"))
    assert texts(fetched.json_lines) == {"a.png": "This is a.png."}
    assert [line["error"]["status"] for line in passed_on.json_lines] == [400]
    unreachable = batch("http://me:secret@127.0.0.1:1/a.png", "-p", "caption", "--fetch")
    assert [source(line) for line in unreachable.json_lines] == ["a.png"]
    assert not [run for run in (fetched, passed_on, unreachable) if b"secret" in run.stdout or "secret" in run.stderr]


@pytest.mark.parametrize(("allowed", "most"), [("0", 1), ("3", 4), ("10%", 20)])
def test_a_run_that_fails_too_often_is_stopped(
    batch: Batch, draw: Draw, gallery: Gallery, allowed: str, most: int
) -> None:
    draw(*numbered(60))
    gallery.rule = lambda *_: REFUSED
    run = batch("photos", "--max-failures", allowed, "-j", 1)
    assert (run.exit_code, len(run.json_lines)) == (7, most)
    assert "stopped at --max-failures" in run.stderr


def test_what_was_done_before_makes_no_share_of_failures_smaller(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    """Of 60 images that are skipped and 30 that fail, 20 may: a share counts from twenty on, and all of them failed."""
    draw(*numbered(60))
    assert batch("photos", "-o", "r.jsonl").exit_code == 0
    gallery.rule = lambda *_: REFUSED
    draw(*(f"new-{name}" for name in numbered(30)))
    run = batch("photos", "-o", "r.jsonl", "--max-failures", "90%", "-j", 1, "--ordered")
    assert run.exit_code == 7
    assert sum(number for name, number in gallery.tries.items() if name.startswith("new")) == 20


@contextmanager
def run_over(
    images: Iterator[Task], gallery: Gallery, folder: Path, *, limits: BudgetLimits, thread_count: int
) -> Iterator[BatchRun]:
    """A run in this process, with two requests at once."""
    plan = BatchPlan(
        BatchInputs(()),
        tasks.BatchRequest(Request("m", "caption", (), 9, 0.1, 1.0, stream=False), encode.ImageLimits()),
        open_source=lambda task: File(task.source, Path(task.source)),
        open_endpoint=lambda: Endpoint(gallery.url, timeout=30),
        rate_limiter=RateLimiter(FixedConcurrency(2)),
        limits=limits,
    )
    with Journal(folder / "results.jsonl") as journal:
        workers = Workers(plan, images, plan.open_endpoint(), thread_count=thread_count)
        yield BatchRun(plan, workers, WorkSharing(journal), Budget(limits), OutcomeWriter(plan.batch_request))


def test_an_image_that_fails_under_many_names_is_one_that_failed(draw: Draw, gallery: Gallery, tmp_path: Path) -> None:
    """The three copies are there before the other image is asked about, and so before the first of them is refused."""
    (bad, good), other_asked = draw("bad.png", "good.png"), threading.Event()
    copies = [Path(shutil.copy(bad, bad.with_name(f"copy-{number}.png"))) for number in range(3)]

    def rule(name: str, number: int) -> Reply:
        if name == "bad.png":
            return Reply([Hold(other_asked), *REFUSED.pieces], status=400, headers=REFUSED.headers)
        other_asked.set()
        return answered(name, number)

    gallery.rule = rule
    images = (Task(number, str(path)) for number, path in enumerate([bad, *copies, good], 1))
    limits = BudgetLimits(failures=FailureLimit(count=1))
    with run_over(images, gallery, tmp_path, limits=limits, thread_count=1) as batch_run:
        outcomes = Counter(type(item) for item in batch_run.iterate_items() if not isinstance(item, Idle))
    assert (outcomes, gallery.tries, batch_run.stop_reason) == (
        {Failed: 4, Done: 1},
        {"bad.png": 1, "good.png": 1},
        None,
    )


def test_what_was_never_asked_goes_before_what_failed(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    """With every third image refused, each run that stops at the second failure gets further than the one before."""
    draw(*numbered(30))
    gallery.rule = lambda name, _: REFUSED if int(name[:4]) % 3 == 0 else answered(name, 1)
    done = []
    for _ in range(4):
        assert batch("photos", "-o", "r.jsonl", "--max-failures", 1, "-j", 1).exit_code == 7
        done.append(sum(line["ok"] for line in lines(tmp_path / "r.jsonl")))
    assert done == sorted(set(done))
    assert batch("photos", "-o", "r.jsonl").exit_code == 7
    found = lines(tmp_path / "r.jsonl")
    assert (len(found), sum(line["ok"] for line in found)) == (30, 20)


def test_the_tokens_of_a_run_have_a_limit(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    draw(*numbered(20))
    run = batch("photos", "--max-tokens-total", 5 * USAGE["total_tokens"], "-j", 2)
    assert (run.exit_code, sum(gallery.tries.values())) == (7, 5)
    assert "stopped at --max-tokens-total 840; 15 of 20 images are left" in run.stderr


def test_the_time_of_a_run_has_a_limit(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    draw(*numbered(20))
    run = batch("photos", "--max-time", 0)
    assert (run.exit_code, sum(gallery.tries.values())) == (7, 0)
    assert "stopped at --max-time 0" in run.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_lets_requests_finish_and_loses_nothing(
    begun: Callable[..., subprocess.Popen[bytes]], draw: Draw, gallery: Gallery, tmp_path: Path, number: signal.Signals
) -> None:
    draw(*numbered(40))
    hold, asked = Hold(), threading.Semaphore(0)

    def rule(name: str, _: int) -> Reply:
        asked.release()
        return Reply([hold, *document(f"This is {name}.").pieces], headers={})

    gallery.rule = rule
    running = begun("photos", "-o", "r.jsonl", "-j", 4)
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


def test_the_second_ctrl_c_ends_it_at_once(
    begun: Callable[..., subprocess.Popen[bytes]], draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    draw(*numbered(10))
    asked = threading.Event()

    def rule(name: str, _: int) -> Reply:
        if name == "0000.png":
            return answered(name, 1)
        asked.set()
        return Reply([Hold()])

    gallery.rule = rule
    running = begun("photos", "-o", "r.jsonl", "-j", 2)
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


def test_a_reader_that_goes_away_ends_the_run_quietly(
    begun: Callable[..., subprocess.Popen[bytes]], draw: Draw, gallery: Gallery
) -> None:
    draw(*numbered(300))
    running = begun("photos", "-j", 2)
    assert running.stdout is not None
    assert running.stdout.readline().startswith(b'{"schema_version":1')
    running.stdout.close()
    assert running.stderr is not None
    with running.stderr:
        assert (running.stderr.read(), running.wait(30)) == (b"", 1)
    assert sum(gallery.tries.values()) < 300


def test_a_full_disk_is_an_error_with_a_name(begun: Callable[..., subprocess.Popen[bytes]], draw: Draw) -> None:
    draw("a.png")
    with open("/dev/full", "wb") as full:
        running = begun("photos", stdout=full)
        _, stderr = running.communicate(timeout=30)
    assert running.returncode == 1
    assert b"cannot write to standard output" in stderr
    assert b"120 \xe2\x86\x92 48 tokens" in stderr  # which were paid for
    assert b"1 of 1 images are left" in stderr


def test_a_dry_run_says_what_there_is_to_do_and_sends_nothing(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    draw(*numbered(3))
    batch("photos/0000.png", "-o", "r.jsonl", "-p", "caption")
    before = (tmp_path / "r.jsonl").read_bytes()
    run = batch("photos", "caption", "-o", "r.jsonl", "--dry-run")
    assert run.exit_code == 0
    assert run.stdout.decode().splitlines()[0] == "3 images: 2 to request, 1 already done, 0 unreadable"
    assert b"about 148 input tokens, 74 per image" in run.stdout
    assert ((tmp_path / "r.jsonl").read_bytes(), sum(gallery.tries.values())) == (before, 1)
    batch("photos", "--dry-run", "-o", "none.jsonl")
    assert not (tmp_path / "none.jsonl").exists()


def test_a_dry_run_counts_equal_images_once(batch: Batch, draw: Draw) -> None:
    first, second, _ = draw("a.png", "b.png", "c.png")
    for number in range(5):
        shutil.copy(first, first.with_name(f"copy{number}.png"))
    first.with_name("link.png").symlink_to(second)
    says = "9 images: 3 to request, 6 the same as others, 0 already done, 0 unreadable"
    assert batch("photos", "caption", "--dry-run").stdout.decode().splitlines()[0] == says
    piped = batch("-", "caption", "--dry-run", stdin=first.read_bytes())
    assert b"about 74 input tokens" in piped.stdout
    batch("photos/c.png", "caption", "-o", "r.jsonl")
    told = batch("photos", "caption", "--dry-run", "-o", "r.jsonl").stdout.decode().splitlines()[0]
    assert told == "9 images: 2 to request, 6 the same as others, 1 already done, 0 unreadable"


HARD_NAMES = [
    b"new\nline.png",
    b'it\'s "quoted".png',
    b"-leading.png",
    b"bytes\xff.png",
    b"[a]*?.png",
    "日本 🎉.png".encode(),
]


def test_hard_file_names_survive_the_way_through_a_list_and_back(
    batch: Batch, draw: Draw, tmp_path: Path, gallery: Gallery
) -> None:
    draw(*HARD_NAMES)
    listed = b"".join(b"photos/" + name + b"\0" for name in HARD_NAMES)
    run = batch("--from", "-", "-0", "-o", "r.jsonl", "-p", "caption", stdin=listed)
    assert run.exit_code == 0
    assert sorted(os.fsencode(source(line)) for line in lines(tmp_path / "r.jsonl")) == sorted(HARD_NAMES)
    gallery.rule = lambda *_: REFUSED
    batch("photos", "another", "--failures", "f.jsonl")
    gallery.rule = answered
    assert {os.fsencode(source(line)) for line in batch("--from", "f.jsonl").json_lines} == set(HARD_NAMES)


def test_an_entry_of_a_list_may_have_its_own_prompt_and_id(batch: Batch, draw: Draw) -> None:
    draw("a.png", "b.png")
    listed = b'{"image": "photos/a.png", "prompt": "what?", "id": "A7"}\n{"image": "photos/b.png", "id": 8}\n'
    found = batch("--from", "-", "caption", "--ordered", stdin=listed).json_lines
    assert [(line["prompt"], line["source_id"]) for line in found] == [("what?", "A7"), ("caption", 8)]


def test_words_in_a_prompt_stand_for_the_image_and_a_slip_costs_its_image(batch: Batch, draw: Draw) -> None:
    draw("a.png", "b.png")
    listed = b'{"image": "photos/a.png"}\n{"image": "photos/b.png", "prompt": "{nmae}?"}\n'
    run = batch("--from", "-", "{index}: what is {stem}?", "--ordered", "--failures", "f.jsonl", stdin=listed)
    assert [(line["prompt"], line["error"] and line["error"]["code"]) for line in run.json_lines] == [
        ("1: what is a?", None),
        ("{nmae}?", "prompt"),
    ]


def test_answers_may_have_to_fit_a_schema(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    draw("a.png", "b.png")
    gallery.rule = lambda name, _: document('{"title": "A"}' if name == "a.png" else "no JSON")
    run = batch("photos", "--schema", "title", "--ordered")
    assert run.exit_code == 7
    assert [(line["data"], line["error"] and line["error"]["code"]) for line in run.json_lines] == [
        ({"title": "A"}, None),
        (None, "schema_mismatch"),
    ]


def test_a_preset_asks_and_its_alternative_text_lies_beside_the_image(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    draw("a.png")
    assert batch("photos", "-P", "alt", "--sidecar", "xmp").exit_code == 0
    assert "alternative text" in gallery.asked[0].json["messages"][-1]["content"][0]["text"].lower()
    written = (tmp_path / "photos" / "a.png.xmp").read_text()
    assert "AltTextAccessibility" in written
    assert "This is a.png." in written


def test_a_run_stops_before_it_costs_more_than_it_may(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    draw(*numbered(20))
    (tmp_path / "config.toml").write_text('[prices."Qwen/Qwen3-VL-Plus"]\ninput = 1000\noutput = 10000\n')
    price = (120 * 1000 + 48 * 10000) / 1e6
    run = batch("photos", "--max-cost", 5 * price, "-j", 1, env={"QVISION_CONFIG": str(tmp_path / "config.toml")})
    assert (run.exit_code, sum(gallery.tries.values())) == (7, 5)
    assert f"${5 * price:.2f}" in run.stderr
    assert {line["cost"]["amount"] for line in run.json_lines} == {price}


@pytest.mark.parametrize(("allowed", "most"), [(0, 0), (5, 5)])
def test_many_requests_at_once_cost_no_more_than_they_may(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path, allowed: int, most: int
) -> None:
    draw(*numbered(20))
    (tmp_path / "config.toml").write_text('[prices."Qwen/Qwen3-VL-Plus"]\ninput = 1000\noutput = 10000\n')
    price = (120 * 1000 + 48 * 10000) / 1e6
    run = batch(
        "photos", "--max-cost", allowed * price, "-j", 16, env={"QVISION_CONFIG": str(tmp_path / "config.toml")}
    )
    assert (run.exit_code, sum(gallery.tries.values())) == (7, most)
    assert f"{20 - most} of 20 images are left" in run.stderr


def test_where_the_server_does_not_count_a_budget_holds_by_an_estimate(
    batch: Batch, draw: Draw, gallery: Gallery
) -> None:
    draw(*numbered(20))
    answer = {"choices": [{"message": {"content": "x" * 400}, "finish_reason": "stop"}]}
    gallery.rule = lambda *_: Reply([json.dumps(answer).encode()], headers={"Content-Type": "application/json"})
    run = batch("photos", "caption", "--max-tokens-total", 5 * (74 + 100), "-j", 4)
    assert (run.exit_code, sum(gallery.tries.values())) == (7, 5)
    assert "about 370 → 500 tokens (estimated: the server does not report usage)" in run.stderr


def test_a_first_answer_is_counted_also_where_putting_it_right_fails(
    batch: Batch, draw: Draw, gallery: Gallery
) -> None:
    draw("a.png")
    gallery.rule = lambda _, number: document("not json") if number == 1 else BROKEN
    run = batch("photos", "--schema", "title", "--retries", 1)
    assert (run.exit_code, gallery.tries["a.png"]) == (7, 3)
    assert f"\n{USAGE['prompt_tokens']} → {USAGE['completion_tokens']} tokens" in run.stderr
    gallery.tries.clear()
    ended = batch("photos", "--schema", "title", "--patience", 0)
    assert (ended.exit_code, ended.stdout) == (5, b"")
    assert "no complete answer for 0 s" in ended.stderr
    assert re.search(r"\d+ → \d+ tokens", ended.stderr)


def test_when_putting_an_answer_right_fails_only_that_is_tried_again(
    batch: Batch, draw: Draw, gallery: Gallery
) -> None:
    """Paid for are the first answer, once, and the one that put it right; whole requests are counted, and their tokens."""
    draw("a.png")
    replies = [document("not json"), OVERLOADED, RESET, BROKEN, document('{"title": "A"}')]
    gallery.rule = lambda _, number: replies[number - 1]
    run = batch("photos", "--schema", "title")
    (line,) = run.json_lines
    assert [len(asked.json["messages"]) for asked in gallery.asked] == [1, 3, 3, 3, 3]
    assert (run.exit_code, line["data"], line["attempts"]) == (0, {"title": "A"}, 4)
    assert line["usage"] == {name: 2 * count for name, count in USAGE.items()}
    assert f"{2 * USAGE['prompt_tokens']} → {2 * USAGE['completion_tokens']} tokens" in run.stderr
    assert line["warnings"] == ["the first answer did not fit the schema, so a second one was requested"]


def test_an_answer_that_was_not_put_right_at_last_has_its_text_and_what_all_took(
    batch: Batch, draw: Draw, gallery: Gallery
) -> None:
    draw("a.png")
    replies = [document("not json"), BROKEN, document("nor this")]
    gallery.rule = lambda _, number: replies[number - 1]
    run = batch("photos", "--schema", "title")
    (line,) = run.json_lines
    assert (run.exit_code, line["error"]["code"], line["text"]) == (7, "schema_mismatch", "nor this")
    assert line["usage"] == {name: 2 * count for name, count in USAGE.items()}


def test_a_list_that_comes_slowly_is_worked_on_meanwhile(
    begun: Callable[..., subprocess.Popen[bytes]], draw: Draw
) -> None:
    """What has come is answered before the next name comes, also where everything waits for that."""
    draw("a.png", "b.png")
    running = begun("--from", "-", "-p", "caption", stdin=subprocess.PIPE)
    assert running.stdin is not None
    assert running.stdout is not None
    for name in (b"a.png", b"b.png"):
        running.stdin.write(b"photos/" + name + b"\n")
        running.stdin.flush()
        assert name in running.stdout.readline()
    running.communicate(timeout=30)
    assert running.returncode == 0


def test_shards_divide_a_folder_without_talking(batch: Batch, draw: Draw) -> None:
    names = numbered(20)
    draw(*names)
    shares = [[source(line) for line in batch("photos", "--shard", f"{number}/3").json_lines] for number in (1, 2, 3)]
    assert sorted(name for share in shares for name in share) == names


def test_a_text_file_lies_beside_each_image(batch: Batch, draw: Draw, tmp_path: Path) -> None:
    draw("a.png", "b.png")
    assert batch("photos", "caption", "--sidecar", "txt", "-o", "r.jsonl").exit_code == 0
    assert (tmp_path / "photos" / "a.txt").read_text() == "This is a.png.\n"
    (tmp_path / "photos" / "a.txt").unlink()
    batch("photos", "caption", "--sidecar", "txt", "-o", "r.jsonl")
    assert (tmp_path / "photos" / "a.txt").read_text() == "This is a.png.\n"


def test_a_file_of_somebody_else_costs_its_image_before_it_is_asked_about(
    batch: Batch, draw: Draw, tmp_path: Path, gallery: Gallery
) -> None:
    draw("a.png", "b.png")
    (tmp_path / "photos" / "a.txt").write_text("mine\n")
    run = batch("photos", "--sidecar", "txt")
    assert run.exit_code == 7
    assert {source(line): line["ok"] for line in run.json_lines} == {"a.png": False, "b.png": True}
    assert gallery.tries == {"b.png": 1}
    assert (tmp_path / "photos" / "a.txt").read_text() == "mine\n"


def test_the_program_is_quiet_if_that_is_asked_for(batch: Batch, draw: Draw) -> None:
    draw("a.png")
    assert batch("photos", "-q").stderr == ""


def test_the_summary_has_the_figures_of_the_server(batch: Batch, draw: Draw) -> None:
    draw(*numbered(3))
    told = batch("photos").stderr
    for part in ("3 described", "360 → 144 tokens", "ttft 0.41 s", "total 1.92 s", "38.4 tok/s", "-j auto found"):
        assert part in told


def test_a_terminal_shows_how_far_it_is(draw: Draw, gallery: Gallery, tmp_path: Path) -> None:
    draw(*numbered(8))
    hold = Hold()
    gallery.rule = lambda name, _: (
        answered(name, 1) if name < "0006" else Reply([hold, *document(name).pieces], headers={})
    )
    env = environment({"QUBRID_API_KEY": KEY, "QUBRID_BASE_URL": gallery.url, "TERM": "xterm-256color"})
    child = pexpect.spawn(
        sys.executable,
        ["-m", "qubrid_cli", "batch", "photos", "-o", "r.jsonl"],
        env=env,
        cwd=str(tmp_path),
        dimensions=(24, 100),
    )
    child.expect(r"6 of 8 ", timeout=30)
    child.expect(r"2 in flight", timeout=30)
    hold.event.set()
    child.expect(r"8 described", timeout=30)
    child.expect(pexpect.EOF, timeout=30)
    child.close()
    assert child.exitstatus == 0


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["caption"],
        ["photos", "-j", "many"],
        ["photos", "-j", "0"],
        ["photos", "--max-failures", "some"],
        ["photos", "--shard", "3/2"],
        ["photos", "-0"],
        ["photos", "--from", "nope.txt"],
        ["photos", "-o", "same", "--failures", "same"],
        ["photos", "one", "two"],
        ["-", "--sidecar", "txt"],
    ],
)
def test_a_command_line_that_cannot_be_meant_is_refused_before_anything_is_asked(
    batch: Batch, draw: Draw, gallery: Gallery, arguments: list[str]
) -> None:
    draw("a.png")
    run = batch(*arguments, stdin=b"")
    assert (run.exit_code, run.stdout, sum(gallery.tries.values())) == (2, b"", 0)
    assert "error: " in run.stderr


def test_the_unit_of_work_is_plain_data_that_goes_to_another_process(draw: Draw) -> None:
    (path,) = draw("a.png")
    request = Request("m", "caption", (), 100, 0.1, 1.0, extra={"seed": 1})
    question = tasks.BatchRequest(request, encode.ImageLimits())
    read = tasks.load_image(Task(1, str(path)), File(str(path), path), question)
    ready = tasks.prepare_image(read, question)
    for one in (question, read, ready):
        assert pickle.loads(pickle.dumps(one)) == one
    spoilt = tasks.build_unsent_result(Task(2, "b.png"), question, ImageError("no such image: b.png", hint="Look."))
    assert pickle.loads(pickle.dumps(spoilt)).record == spoilt.record


def test_no_more_images_are_found_and_prepared_than_the_requests_need(
    draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    """With two requests held: these two, as many that are ready, two in preparation, and one in the finder's hand."""
    hold, pulled = Hold(), 0
    gallery.rule = lambda name, _: Reply([hold, *document(name).pieces], headers={})

    def found() -> Iterator[Task]:
        nonlocal pulled
        for pulled, path in enumerate(draw(*numbered(40)), 1):
            yield Task(pulled, str(path))

    ended = Counter[type]()
    with run_over(found(), gallery, tmp_path, limits=BudgetLimits(), thread_count=2) as batch_run:
        for item in batch_run.iterate_items():
            ended[type(item)] += 1
            if ended[Idle] and gallery.in_flight == 2:
                assert pulled <= 7
                hold.event.set()
    assert ended[Done] == 40


def test_a_request_that_waits_for_its_answer_holds_its_image_once(server: Server) -> None:
    data = bytes(6_000_000)
    image = PreparedImage("a.jpg", "", "JPEG", 9, 9, len(data), encode.Upload("image/jpeg", 9, 9, data), 0.0)
    ready = tasks.ReadyImage(Task(1, "a.jpg"), "key", image, 10)
    question = tasks.BatchRequest(Request("m", "caption", (), 9, 0.1, 1.0, stream=False), encode.ImageLimits())
    asked, hold = threading.Event(), Hold()

    def answer(_: Asked) -> Reply:
        asked.set()
        return Reply([hold, *document("A lighthouse.").pieces], headers={})

    server.answer = answer
    with Endpoint(server.url, timeout=30) as endpoint:
        asking = threading.Thread(target=tasks.request_answer, args=(ready, question, endpoint))
        tracemalloc.start()
        try:
            asking.start()
            assert asked.wait(30)
            found = tracemalloc.take_snapshot().filter_traces(
                [tracemalloc.Filter(False, f"*{os.sep}{theirs}{os.sep}*") for theirs in ("asyncio", "tests")]
            )
        finally:
            tracemalloc.stop()
            hold.event.set()
            asking.join()
    assert sum(trace.size for trace in found.traces) < 2_000_000


def test_a_folder_without_images_is_told_of(batch: Batch, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    run = batch("photos")
    assert (run.exit_code, run.stdout, run.stderr) == (0, b"", "note: no image was found\n")


def test_a_limit_in_money_needs_a_price(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    draw("a.png")
    run = batch("photos", "--max-cost", 1)
    assert (run.exit_code, sum(gallery.tries.values())) == (3, 0)
    assert "--max-cost needs a price for Qwen/Qwen3-VL-Plus" in run.stderr
