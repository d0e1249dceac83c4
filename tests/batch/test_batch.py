"""``qvision batch`` as its users meet it: the real program, a real server that answers by rule, real files."""

import io
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pexpect
import pyte
import pytest

from ..conftest import KEY, environment
from ..support.gallery import REFUSED, Batch, Draw, Gallery, answered, lines, numbered, source, texts
from ..support.server import USAGE, Asked, Hold, Pause, Reply, document, refusal, stream


def test_every_image_of_a_folder_gets_a_line(batch: Batch, draw: Draw) -> None:
    draw("a.png", "b/c.png", ".hidden.png", "notes.txt")
    run = batch("photos", "caption")
    assert run.exit_code == 0
    assert texts(run.json_lines) == {"a.png": "This is a.png.", "c.png": "This is b/c.png."}


def test_a_line_is_the_object_of_describe_plus_the_fields_of_a_batch(batch: Batch, draw: Draw) -> None:
    draw("a.png")
    (line,) = batch("photos", "caption").json_lines
    assert (line["prompt"], line["usage"], line["ok"], line["complete"]) == ("caption", USAGE, True, True)
    assert (line["index"], line["attempts"], line["source_id"], line["duplicate_of"]) == (1, 1, None, None)
    assert re.fullmatch("[0-9a-f]{64}", line["key"])


def test_a_line_says_how_it_was_made(batch: Batch, draw: Draw, tmp_path: Path, gallery: Gallery) -> None:
    draw("a.png")
    (tmp_path / "photos/bad.png").write_bytes(b"no image")
    (tmp_path / "form.json").write_text('{"type": "object"}')
    gallery.rule = lambda *_: document("{}")
    before = datetime.now(UTC).replace(microsecond=0)
    options = ("--max-tokens", 50, "--temperature", 0.5, "--system", "Be brief.", "--max-side", 100, "-O", "seed=7")
    bad, good = sorted(
        batch("photos", "caption", "--schema", "form.json", *options, "-m", "llava").json_lines,
        key=lambda line: line["ok"],
    )
    assert good["request"] == {
        "model": "llava", "system": "Be brief.", "max_tokens": 50, "temperature": 0.5, "top_p": 1.0,
        "schema": "form.json", "detail": None, "params": {"seed": 7},
        "images": {"max_pixels": 2_621_440, "max_side": 100, "quality": None, "background": None},
    }  # fmt: skip
    assert bad["request"] == good["request"] | {"schema": None, "images": None}
    assert before <= datetime.fromisoformat(good["created"]) <= datetime.now(UTC)


def test_attempts_counts_every_request_and_v_logs_each(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    draw("a.png")
    answers = iter([refusal(503, "busy"), document("no JSON"), document('{"a": 1}')])
    gallery.rule = lambda *_: next(answers)
    run = batch("photos", "caption", "--schema", '{"type": "object"}', "-v")
    assert [(line["ok"], line["attempts"]) for line in run.json_lines] == [(True, 3)]
    log = [line for line in run.stderr.splitlines() if line.startswith("photos/a.png: ")]
    assert [re.sub(r"[\d.]+ (?:K?B|s)\b|(?<=0\.1):\d+", "N", line) for line in log] == [
        "photos/a.png: N sent, HTTP 503 after N, 127.0.0.1N failed (HTTP 503): busy",
        "photos/a.png: N sent, HTTP 200 after N",
        "photos/a.png: N sent, HTTP 200 after N",
    ]


def test_an_image_may_come_from_standard_input(batch: Batch, draw: Draw) -> None:
    (path,) = draw("a.png")
    (line,) = batch("-", "{name}", stdin=path.read_bytes()).json_lines
    assert (source(line), line["prompt"], line["text"]) == ("-", "image", "This is a.png.")


def test_requests_are_streamed_only_with_stream(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    draw("a.png")
    batch("photos")
    gallery.rule = lambda *_: stream("streamed")
    assert texts(batch("photos", "--stream").json_lines) == {"a.png": "streamed"}
    assert [asked.json["stream"] for asked in gallery.asked] == [False, True]


def test_with_ordered_the_lines_have_the_order_of_the_images(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    names = numbered(30)
    draw(*names)
    dice = random.Random(1)
    gallery.rule = lambda name, _: Reply([Pause(dice.random() / 20), *document(name).pieces], headers={})
    assert [source(line) for line in batch("photos", "--ordered", "-j", 8).json_lines] == names


def test_a_misspelled_path_is_refused_before_anything_is_requested_or_written(
    batch: Batch, draw: Draw, tmp_path: Path, gallery: Gallery
) -> None:
    draw("a.png")
    run = batch("photos", "./photso/", "caption", "-o", "r.jsonl")
    assert (run.exit_code, sum(gallery.tries.values())) == (4, 0)
    assert run.stderr.startswith("error: no such image: ./photso/; did you mean ./photos?\n")
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


def test_a_dry_run_prints_a_forecast_and_sends_nothing(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    draw(*numbered(3))
    batch("photos/0000.png", "-o", "r.jsonl", "-p", "caption")
    before = (tmp_path / "r.jsonl").read_bytes()
    run = batch("photos", "caption", "-o", "r.jsonl", "--dry-run")
    assert run.exit_code == 0
    assert run.stdout.decode().splitlines()[0] == "3 images: 2 to describe, 1 already done, 0 unreadable"
    assert b"about 148 input tokens, 74 per image" in run.stdout
    request = ["prompt:   caption", "model:    Qwen/Qwen3-VL-Plus", f"endpoint: {gallery.url}", "profile:  qubrid"]
    assert run.stdout.decode().splitlines()[-4:] == request
    assert ((tmp_path / "r.jsonl").read_bytes(), sum(gallery.tries.values())) == (before, 1)
    batch("photos", "--dry-run", "-o", "none.jsonl")
    assert not (tmp_path / "none.jsonl").exists()


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("gpt-4o", "about 1,028 input tokens, 257 per image; plus the answers of up to 16,384 tokens each"),
        (
            "llava:7b",
            (
                "unknown number of input tokens, because it is unknown how the model counts images; "
                "plus the answers of up to 16,384 tokens each"
            ),
        ),
    ],
)
def test_the_forecast_has_no_tokens_for_a_model_whose_rule_is_unknown(
    batch: Batch, draw: Draw, model: str, tokens: str
) -> None:
    draw(*numbered(4))
    assert batch("photos", "caption", "--dry-run", "-m", model).stdout.decode().splitlines()[1] == tokens


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
    batch("photos", "-p", "another", "--failures", "f.jsonl")
    gallery.rule = answered
    assert {os.fsencode(source(line)) for line in batch("--from", "f.jsonl").json_lines} == set(HARD_NAMES)


def test_an_entry_of_a_list_may_have_its_own_prompt_and_id(batch: Batch, draw: Draw) -> None:
    draw("a.png", "b.png")
    listed = b'{"image": "photos/a.png", "prompt": "what?", "id": "A7"}\n{"image": "photos/b.png", "id": 8}\n'
    found = batch("--from", "-", "caption", "--ordered", stdin=listed).json_lines
    assert [(line["prompt"], line["source_id"]) for line in found] == [("what?", "A7"), ("caption", 8)]


def test_placeholders_are_filled_in_and_an_invalid_one_affects_only_its_image(batch: Batch, draw: Draw) -> None:
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


def test_with_the_preset_alt_the_sidecar_has_alternative_text(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    draw("a.png")
    assert batch("photos", "-P", "alt", "--sidecar", "xmp").exit_code == 0
    assert "alternative text" in gallery.asked[0].json["messages"][-1]["content"][0]["text"].lower()
    written = (tmp_path / "photos" / "a.png.xmp").read_text()
    assert "AltTextAccessibility" in written
    assert "This is a.png." in written


def test_a_slow_list_is_processed_while_it_arrives(
    start_batch: Callable[..., subprocess.Popen[bytes]], draw: Draw
) -> None:
    """What has come is answered before the next name comes, also where everything waits for that."""
    draw("a.png", "b.png")
    running = start_batch("--from", "-", "-p", "caption", stdin=subprocess.PIPE)
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


def test_an_image_whose_sidecar_is_a_foreign_file_fails_before_it_is_requested(
    batch: Batch, draw: Draw, tmp_path: Path, gallery: Gallery
) -> None:
    draw("a.png", "b.png")
    (tmp_path / "photos" / "a.txt").write_text("mine\n")
    run = batch("photos", "--sidecar", "txt")
    assert run.exit_code == 7
    assert {source(line): line["ok"] for line in run.json_lines} == {"a.png": False, "b.png": True}
    assert gallery.tries == {"b.png": 1}
    assert (tmp_path / "photos" / "a.txt").read_text() == "mine\n"


def test_quiet_prints_nothing_to_stderr(batch: Batch, draw: Draw) -> None:
    draw("a.png")
    assert batch("photos", "-q").stderr == ""


def test_the_summary_has_the_figures_of_the_server(batch: Batch, draw: Draw) -> None:
    draw(*numbered(3))
    told = batch("photos").stderr
    for part in ("3 described", "360 → 144 tokens", "ttft 0.41 s", "total 1.92 s", "38.4 tok/s", "-j auto found"):
        assert part in told


@pytest.mark.parametrize(("columns", "term"), [(40, "xterm-256color"), (100, "xterm-256color"), (100, "dumb")])
def test_a_terminal_shows_a_row_for_each_image_above_the_progress(
    draw: Draw, gallery: Gallery, tmp_path: Path, columns: int, term: str
) -> None:
    draw(*numbered(5))
    (tmp_path / "photos/x.jpg").write_bytes(b"not an image")
    hold = Hold()
    gallery.rule = lambda name, _: (
        answered(name, 1) if name != "0004.png" else Reply([hold, *document(name).pieces], headers={})
    )
    child: pexpect.spawn[bytes] = pexpect.spawn(
        sys.executable,
        ["-m", "qubrid_cli", "batch", "photos"],
        env=environment({"QUBRID_API_KEY": KEY, "QUBRID_BASE_URL": gallery.url, "TERM": term}),
        cwd=str(tmp_path),
        dimensions=(24, columns),
    )
    child.logfile_read = out = io.BytesIO()
    child.expect("5 of 6 " if term != "dumb" else "0003.png", timeout=30)
    hold.event.set()
    child.expect("5 described", timeout=30)
    child.expect(pexpect.EOF, timeout=30)
    child.close()
    screen = pyte.Screen(columns, 24)
    pyte.ByteStream(screen).feed(out.getvalue())
    assert screen.display[0].split() == ["image", "answer", *(("tok", "s") if columns == 40 else ("tokens", "seconds"))]
    rows = screen.display[1:7]
    assert sorted(row.split()[0][-8:] for row in rows) == [*(f"000{n}.png" for n in range(5)), "os/x.jpg"]
    (failed,) = (number for number, row in enumerate(rows, 1) if "x.jpg" in row)
    assert screen.buffer[failed][0].fg == ("default" if term == "dumb" else "red")
    assert (screen.display[7].startswith("5 described"), child.exitstatus) == (True, 7)
    assert "\x1b[J" not in out.getvalue().decode() or term != "dumb"
    summary = " ".join(row.strip() for row in screen.display[8:])  # wrapped at words
    assert "failed: 1 × not_an_image, first photos/x.jpg: photos/x.jpg is not an image that can be read" in summary


def test_a_terminal_shows_the_progress(draw: Draw, gallery: Gallery, tmp_path: Path) -> None:
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
    child.logfile_read = wide = io.BytesIO()
    child.expect(r"6 of 8 ", timeout=30)
    child.expect(r"2 in flight", timeout=30)
    child.logfile_read = narrow = io.BytesIO()
    child.setwinsize(24, 40)
    child.expect(r"6 of 8 .*2 in flight.*\x1b\[1A\r", timeout=30)  # at the new width
    assert max(map(len, re.split(r"[\r\n]+", re.sub(r"\x1b\[\d*[a-zA-Z]", "", narrow.getvalue().decode())))) < 40
    hold.event.set()
    child.expect(r"8 described", timeout=30)
    child.expect(pexpect.EOF, timeout=30)
    child.close()
    assert child.exitstatus == 0
    screen = pyte.Screen(100, 24)
    stream_ = pyte.ByteStream(screen)
    stream_.feed(wide.getvalue())
    screen.resize(24, 40)
    stream_.feed(narrow.getvalue())
    assert screen.display[0].startswith("8 described")
    assert "in flight" not in "".join(screen.display)


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
        ["photos", "one thing", "two things"],
        ["-", "--sidecar", "txt"],
    ],
)
def test_an_invalid_command_line_is_refused_before_any_request(
    batch: Batch, draw: Draw, gallery: Gallery, arguments: list[str]
) -> None:
    draw("a.png")
    run = batch(*arguments, stdin=b"")
    assert (run.exit_code, run.stdout, sum(gallery.tries.values())) == (2, b"", 0)
    assert "error: " in run.stderr


@pytest.mark.parametrize("extra", [(), ("--dry-run",)])
def test_a_folder_of_other_files_is_an_error_that_says_what_to_do(
    batch: Batch, tmp_path: Path, extra: tuple[str, ...]
) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("a b.CR2", "c.cr2", "d.mp4", "d.xmp"):
        (tmp_path / "photos" / name).write_bytes(b"x")
    run = batch("photos", "caption", *extra)
    assert run.exit_code == 4
    assert run.stderr.splitlines() == [
        "error: no image was found; 3 not read: 2 camera raw, 1 video",
        'hint: Convert them first, for example: darktable-cli "photos/a b.CR2" out.jpg',
    ]


@pytest.mark.parametrize("extra", [(), ("--dry-run",), ("-q",)])
def test_a_run_says_in_one_line_what_it_left_out(
    batch: Batch, draw: Draw, tmp_path: Path, extra: tuple[str, ...]
) -> None:
    draw("a.png")
    for name in ("b.cr2", "c.mp4"):
        (tmp_path / "photos" / name).write_bytes(b"x")
    run = batch("photos", "caption", *extra)
    assert run.exit_code == 0
    assert run.stderr.splitlines().count("2 not read: 1 camera raw, 1 video") == (0 if "-q" in extra else 1)


def test_a_folder_without_images_gets_a_note(batch: Batch, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    run = batch("photos")
    assert (run.exit_code, run.stdout, run.stderr) == (0, b"", "note: no image was found\n")
