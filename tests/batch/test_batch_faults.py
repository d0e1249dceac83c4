"""What ``qvision batch`` does when the server or an image fails."""

import json
import random
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from ..conftest import Qvision
from ..support.empty import EMPTY, REPLIES
from ..support.gallery import (
    BROKEN,
    BUSY,
    OVERLOADED,
    REFUSED,
    RESET,
    Batch,
    Draw,
    Gallery,
    answered,
    lines,
    numbered,
    source,
    texts,
)
from ..support.server import DONE, JSON, USAGE, Asked, Reply, delta, document, refusal, stream


def test_despite_faults_every_image_gets_one_line_and_failed_ones_can_be_retried(
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


def test_empty_answers_are_failures_that_the_next_run_requests_again(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    """30 images, 10 of which get an empty answer, each in another form."""
    names = numbered(30)
    draw(*names)
    empty = dict(zip(names[::3], EMPTY, strict=False))
    gallery.rule = lambda name, number: REPLIES[empty[name]] if name in empty else answered(name, number)
    options = ("photos", "caption", "-o", "r.jsonl", "--failures", "f.jsonl", "--sidecar", "txt", "--retries", 1)
    run = batch(*options)
    found = lines(tmp_path / "r.jsonl")
    failed = {source(line): line["error"]["code"] for line in found if not line["ok"]}
    assert (run.exit_code, len(found), failed) == (7, 30, dict.fromkeys(empty, "empty_answer"))
    assert [gallery.tries[name] for name in names] == [2 if name in empty else 1 for name in names]
    listed = [json.loads(line) for line in (tmp_path / "f.jsonl").read_text().splitlines()]
    assert {Path(one["image"]).name for one in listed} == set(empty)
    sidecars = {path.stem for path in (tmp_path / "photos").glob("*.txt")}
    assert sidecars == {Path(name).stem for name in names if name not in empty}
    assert "empty_answer" in run.stderr
    gallery.rule = answered
    gallery.tries.clear()
    assert (batch(*options).exit_code, gallery.tries) == (0, dict.fromkeys(empty, 1))


def test_an_empty_answer_that_an_earlier_version_recorded_as_a_success_is_requested_again(
    batch: Batch, draw: Draw, tmp_path: Path
) -> None:
    draw("a.png")
    batch("photos", "caption", "-o", "r.jsonl")
    (line,) = lines(tmp_path / "r.jsonl")
    (tmp_path / "r.jsonl").write_text(json.dumps(line | {"text": "\n"}, separators=(",", ":")) + "\n")
    run = batch("photos", "caption", "-o", "r.jsonl")
    assert (run.exit_code, texts(lines(tmp_path / "r.jsonl"))) == (0, {"a.png": "This is a.png."})


@pytest.mark.parametrize("name", ["refusal", "out of tokens"])
def test_what_would_be_answered_the_same_is_not_requested_again(
    batch: Batch, draw: Draw, gallery: Gallery, name: str
) -> None:
    draw("a.png")
    gallery.rule = lambda *_: REPLIES[name]
    assert (batch("photos", "caption").exit_code, gallery.tries["a.png"]) == (7, 1)


def test_an_image_that_breaks_the_server_affects_only_itself(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    draw(*numbered(12))
    gallery.rule = lambda name, _: BROKEN if name == "0003.png" else answered(name, 1)
    run = batch("photos", "--retries", 1)
    assert (run.exit_code, gallery.tries["0003.png"]) == (7, 2)
    assert [(source(line), line["attempts"], line["error"]["status"]) for line in run.json_lines if not line["ok"]] == [
        ("0003.png", 2, 500)
    ]


def test_a_run_waits_for_a_broken_endpoint_and_no_image_fails(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    draw(*numbered(12))
    down = iter(range(20))
    gallery.rule = lambda name, _: answered(name, 1) if next(down, None) is None else BROKEN
    run = batch("photos", "--retries", 1, "-j", 8)
    assert (run.exit_code, len(run.json_lines)) == (0, 12)


def test_after_patience_the_run_stops_and_leaves_the_rest(qvision: Qvision, draw: Draw, tmp_path: Path) -> None:
    draw(*numbered(12))
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
        run = qvision("batch", "photos", "-o", "r.jsonl", "--patience", "0.3", "--base-url", url)
    assert run.exit_code == 5
    assert "no complete answer for 0.3 s: 127.0.0.1:" in run.stderr
    assert "12 of 12 images are left" in run.stderr
    assert lines(tmp_path / "r.jsonl") == []


def test_a_server_that_asks_to_wait_longer_than_patience_stops_the_run(
    batch: Batch, draw: Draw, gallery: Gallery
) -> None:
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
def test_an_error_that_every_image_would_meet_stops_the_run_at_once(
    batch: Batch, draw: Draw, gallery: Gallery, reply: Reply, exit_code: int, says: str
) -> None:
    draw(*numbered(60))
    gallery.rule = lambda *_: reply
    run = batch("photos", "-j", 16)
    assert (run.exit_code, run.stdout) == (exit_code, b"")
    assert says in run.stderr
    assert "60 of 60 images are left" in run.stderr
    assert sum(gallery.tries.values()) <= 16  # one on a machine that is not busy, see test_run


@pytest.mark.parametrize("jobs", [1, 8])
def test_a_run_ends_if_the_endpoint_refuses_twenty_images_in_a_row(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path, jobs: int
) -> None:
    draw(*numbered(60))
    gallery.rule = lambda *_: REFUSED
    run = batch("photos", "-o", "r.jsonl", "-j", jobs)
    tries = sum(gallery.tries.values())
    assert (run.exit_code, len(lines(tmp_path / "r.jsonl"))) == (5, tries)
    assert 20 <= tries < 20 + jobs
    assert "error: 20 images in a row failed with the same error: 127.0.0.1:" in run.stderr
    assert f"no such picture; {60 - tries} of 60 images are left\n" in run.stderr
    assert run.stderr.rstrip().endswith("accepts. To continue all the same, add: --max-failures 100%")
    everything = batch("photos", "-o", "r.jsonl", "-j", jobs, "--max-failures", "100%")
    assert (everything.exit_code, len(lines(tmp_path / "r.jsonl"))) == (7, 60)
    assert "failed: 60 × invalid_image (HTTP 400), first photos/00" in everything.stderr


def test_one_bad_folder_does_not_end_a_run(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    """Of 30 images, 15 in a row are refused, each once."""
    draw(*numbered(30))
    gallery.rule = lambda name, _: REFUSED if "0005.png" <= name < "0020.png" else answered(name, 1)
    run = batch("photos", "-j", 1)
    assert (run.exit_code, len(run.json_lines), sum(gallery.tries.values())) == (7, 30, 30)


def test_answers_from_before_the_stop_are_kept(batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path) -> None:
    draw(*numbered(60))
    spent = iter(range(40))
    gallery.rule = lambda name, _: refusal(402, {}) if next(spent, None) is None else answered(name, 1)
    assert batch("photos", "-o", "r.jsonl").exit_code == 5
    assert len(lines(tmp_path / "r.jsonl")) == 40


def test_a_refused_field_is_left_out_of_later_requests(batch: Batch, draw: Draw, gallery: Gallery) -> None:
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


def test_an_image_that_is_refused_does_not_change_later_requests(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    """Its refusal without a reason may be about the schema, but the requests without a schema are refused too."""
    draw(*numbered(6))
    bad = refusal(400, {"error": {"message": "Bad request"}})
    gallery.rule = lambda name, _: bad if name == "0001.png" else document('{"title": "A"}')
    run = batch("photos", "--schema", "title", "-j", 1)
    kinds = Counter(asked.json.get("response_format", {}).get("type") for asked in gallery.asked)
    assert (run.exit_code, kinds) == (7, {"json_schema": 6, "json_object": 1, None: 1})


def test_a_refused_key_ends_a_run_also_after_answers(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    draw(*numbered(30))
    revoked = refusal(403, {"error": {"message": "The API key was revoked.", "code": "invalid_api_key"}})
    gallery.rule = lambda name, _: revoked if name >= "0010.png" else answered(name, 1)
    run = batch("photos", "-j", 1, "--ordered")
    assert (run.exit_code, len(run.json_lines), sum(gallery.tries.values())) == (3, 10, 11)
    assert "20 of 30 images are left" in run.stderr


def test_a_run_remembers_that_the_endpoint_only_streams(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    draw(*numbered(8))
    refused = refusal(400, {"error": {"message": "stream must be true"}})
    gallery.answer = lambda asked: stream("A lighthouse.") if asked.json["stream"] else refused
    run = batch("photos", "-j", 1)
    assert (run.exit_code, [asked.json["stream"] for asked in gallery.asked]) == (0, [False, *[True] * 8])
    warning = "the endpoint only streams its answers, so a stream was requested"
    assert [line["warnings"] for line in run.json_lines] == [[warning], *[[]] * 7]


@pytest.mark.parametrize("reports_usage", [True, False])
def test_a_run_remembers_how_many_tokens_fit(
    batch: Batch, draw: Draw, gallery: Gallery, *, reports_usage: bool
) -> None:
    """The image of the sixth request has more tokens than all others, so it is refused too at first."""
    draw(*numbered(8))
    gallery.rule = lambda name, _: document(name)
    by_rule, large = gallery.answer, set[bytes]()
    assert callable(by_rule)

    def answer(asked: Asked) -> Reply:
        (whole,) = [piece for piece in by_rule(asked).pieces if isinstance(piece, bytes)]
        if len(gallery.asked) == 6:
            large.add(whole)
        prompt, wanted = 2_000 if whole in large else 1_000, asked.json["max_tokens"]
        if prompt + wanted > 4_096:
            message = f"This model's maximum context length is 4096 tokens. However, you requested {prompt + wanted} "
            message += f"tokens ({prompt} in the messages, {wanted} in the completion)."
            return refusal(400, {"error": {"message": message, "code": "context_length_exceeded"}})
        usage = {"prompt_tokens": prompt, "completion_tokens": 9} if reports_usage else None
        return Reply([json.dumps(json.loads(whole) | {"usage": usage}).encode()], headers=JSON)

    gallery.answer = answer
    run = batch("photos", "-j", 1)
    assert run.exit_code == 0
    sent = [asked.json["max_tokens"] for asked in gallery.asked]
    assert sent == [16_384, *[3_096] * 5, 2_096, *[2_096] * 3]
    assert all(len(line["warnings"]) >= 1 for line in run.json_lines)


@pytest.mark.parametrize("status", [403, 451])
def test_one_refused_image_affects_only_itself(batch: Batch, draw: Draw, gallery: Gallery, status: int) -> None:
    draw(*numbered(30))
    blocked = refusal(status, {"error": {"message": "Request blocked by the firewall."}})
    gallery.rule = lambda name, _: blocked if name == "0029.png" else answered(name, 1)
    run = batch("photos")
    failed = [line for line in run.json_lines if not line["ok"]]
    assert (run.exit_code, len(run.json_lines), list(map(source, failed))) == (7, 30, ["0029.png"])
    assert (gallery.tries["0029.png"], failed[0]["error"]["status"]) == (1, status)
    assert "first photos/0029.png: 127.0.0.1:" in run.stderr
    assert "Request blocked by the firewall." in run.stderr


def whole(message: object, finish: str | None = "stop") -> Reply:
    body = {"id": "c-1", "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": USAGE}
    return Reply([json.dumps(body).encode()], headers=JSON)


@pytest.mark.parametrize(
    ("reply", "options"),
    [
        (document(" \n\t"), ()),
        (whole({"role": "assistant", "content": None, "reasoning_content": "hm, a lighthouse"}), ()),
        (Reply([b'{"id": "c-1", "choices": null, "usage": null}'], headers=JSON), ()),
        (Reply([delta("", finish="stop"), DONE]), ("--stream",)),
    ],
)
def test_images_with_an_empty_answer_fail_and_only_they_are_requested_again(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path, reply: Reply, options: tuple[str, ...]
) -> None:
    names = numbered(30)
    draw(*names)
    empty = set(names[10:20])
    gallery.rule = lambda name, _: reply if name in empty else answered(name, 1)
    asking = ("photos", "caption", "-o", "r.jsonl", "--sidecar", "txt", *options)
    run = batch(*asking, "--failures", "f.jsonl", "--retries", 1)
    failed = {source(line): line["error"]["code"] for line in lines(tmp_path / "r.jsonl") if not line["ok"]}
    assert (run.exit_code, failed) == (7, dict.fromkeys(empty, "empty_answer"))
    assert "failed: 10 × empty_answer, first photos/00" in run.stderr
    assert {Path(json.loads(line)["image"]).name for line in (tmp_path / "f.jsonl").read_text().splitlines()} == empty
    assert {path.stem for path in (tmp_path / "photos").glob("*.txt")} == {name[:4] for name in set(names) - empty}
    assert {gallery.tries[name] for name in empty} == {2}
    gallery.tries.clear()
    gallery.rule = answered
    assert batch(*asking).exit_code == 0
    assert gallery.tries == dict.fromkeys(empty, 1)
    assert len(lines(tmp_path / "r.jsonl")) == 30


def test_an_endpoint_with_only_empty_answers_ends_the_run(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    draw(*numbered(60))
    gallery.rule = lambda *_: document("")
    run = batch("photos", "-j", 1, "--retries", 0)
    assert (run.exit_code, len(run.json_lines)) == (5, 20)
    assert "error: 20 images in a row failed with the same error: the model sent" in run.stderr


def test_images_that_cannot_be_sent_affect_only_themselves(
    batch: Batch, draw: Draw, tmp_path: Path, gallery: Gallery
) -> None:
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


@pytest.mark.parametrize(("allowed", "most"), [("0", 1), ("3", 4), ("10%", 20)])
def test_a_run_that_fails_too_often_is_stopped(
    batch: Batch, draw: Draw, gallery: Gallery, allowed: str, most: int
) -> None:
    draw(*numbered(60))
    gallery.rule = lambda *_: REFUSED
    run = batch("photos", "--max-failures", allowed, "-j", 1)
    assert (run.exit_code, len(run.json_lines)) == (7, most)
    assert "stopped at --max-failures" in run.stderr


def test_skipped_images_do_not_lower_the_percentage_of_failures(batch: Batch, draw: Draw, gallery: Gallery) -> None:
    """Of 60 images that are skipped and 30 that fail, 20 may: a share counts from twenty on, and all of them failed."""
    draw(*numbered(60))
    assert batch("photos", "-o", "r.jsonl").exit_code == 0
    gallery.rule = lambda *_: REFUSED
    draw(*(f"new-{name}" for name in numbered(30)))
    run = batch("photos", "-o", "r.jsonl", "--max-failures", "90%", "-j", 1, "--ordered")
    assert run.exit_code == 7
    assert sum(number for name, number in gallery.tries.items() if name.startswith("new")) == 20


def test_new_images_come_before_failed_ones(batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path) -> None:
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


LOOP = "| | | |\n" * 400


@pytest.mark.parametrize(("options", "reply"), [([], document), (["--stream"], stream)])
def test_an_answer_that_repeats_itself_is_requested_again_with_more_variety(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path, options: list[str], reply: Callable[[str], Reply]
) -> None:
    draw("a.png", "b.png")

    def rule(name: str, number: int) -> Reply:
        return reply(LOOP if name == "a.png" or number < 3 else "A cat.")

    gallery.rule = rule
    run = batch("photos", "-o", "r.jsonl", "-j", 1, *options)
    bad, good = sorted(lines(tmp_path / "r.jsonl"), key=source)
    assert (run.exit_code, gallery.tries) == (7, {"a.png": 3, "b.png": 3})
    assert (bad["error"]["code"], bad["text"], bad["complete"]) == ("repetition", "| | | |\n", False)
    note = "the answer repeated itself, so it was requested again with temperature 0.7 and frequency_penalty 0.5"
    assert (good["ok"], good["text"], good["attempts"], good["warnings"]) == (True, "A cat.", 3, [note])
    sent = [(asked.json["temperature"], asked.json.get("frequency_penalty")) for asked in gallery.asked]
    assert sorted(sent, key=str) == [(0.1, None)] * 2 + [(0.4, None)] * 2 + [(0.7, 0.5)] * 2


def test_a_penalty_that_the_endpoint_refuses_is_dropped_with_a_note(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    draw("a.png")
    refused = refusal(400, {"error": {"message": "Unsupported parameter: 'frequency_penalty'"}})

    def rule(_: str, number: int) -> Reply:
        if "frequency_penalty" in gallery.asked[-1].json:
            return refused
        return document(LOOP if number == 1 else "A cat.")

    gallery.rule = rule
    batch("photos", "-o", "r.jsonl", "--profile", "ollama", "-m", "vlm", "--base-url", gallery.url)
    (found,) = lines(tmp_path / "r.jsonl")
    assert (found["text"], found["warnings"]) == (
        "A cat.",
        [
            "the answer repeated itself, so it was requested again with frequency_penalty 0.5",
            "the endpoint refused frequency_penalty, so it was dropped",
        ],
    )


def test_no_retries_and_no_loop_check_apply_to_answers_that_repeat_themselves(
    batch: Batch, draw: Draw, gallery: Gallery, tmp_path: Path
) -> None:
    draw("a.png")
    gallery.rule = lambda *_: document(LOOP)
    assert (batch("photos", "-o", "r.jsonl", "--retries", 0).exit_code, gallery.tries["a.png"]) == (7, 1)
    assert batch("photos", "-o", "r.jsonl", "--no-loop-check").exit_code == 0
    assert lines(tmp_path / "r.jsonl")[-1]["text"] == LOOP
