"""``qvision describe`` as its users meet it: the real program, a real server, real files."""

import base64
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ..conftest import KEY, Ask, Qvision, command, environment
from ..support import draw
from ..support.empty import REPLIES, UNANSWERED
from ..support.server import (
    DONE,
    JSON,
    USAGE,
    X_METRICS,
    Hold,
    Reply,
    Server,
    delta,
    document,
    event,
    figures,
    refusal,
    stream,
)

HOSTILE = "a \x1b]52;c;aGVsbG8=\x07 b \x1b[2J c \x1b]0;title\x07 [red]x[/] d \x9b31m e \u2028 🎉 日本"


@pytest.fixture(scope="session")
def large_photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a phone takes that is held upright: 4000 × 3000 pixels on their side, orientation 6, and the place."""
    path = tmp_path_factory.mktemp("photos") / "large.jpg"
    draw.photo(path, 3000, 4000, quality=95)
    return path


def validated(body: dict[str, Any]) -> dict[str, Any]:
    """The body, held against OpenAI's own request type."""
    from openai.types.chat import completion_create_params  # loading it takes 2 s, which each process would spend
    from pydantic import TypeAdapter

    # Kept for as long as what it validates: pydantic validates iterables only when they are walked.
    request = TypeAdapter[Any](completion_create_params.CompletionCreateParamsStreaming)
    for message in request.validate_python(body)["messages"]:
        if not isinstance(content := message.get("content"), str):
            list(content or ())
    return body


def picture(url: str) -> Image.Image:
    head, _, data = url.partition(",")
    image = Image.open(BytesIO(base64.b64decode(data, validate=True)))
    image.load()
    assert head == f"data:image/{(image.format or '').lower()};base64"
    return image


def test_the_answer_goes_to_stdout_and_nothing_else(describe: Ask, server: Server, lighthouse: Path) -> None:
    server.answer = stream("A ", "light", "house.")
    run = describe(lighthouse, "what is this?")
    assert (run.exit_code, run.stdout, run.stderr) == (0, b"A lighthouse.\n", "")


def test_the_body_is_what_the_documentation_says(describe: Ask, server: Server, lighthouse: Path) -> None:
    describe(lighthouse, "what is this?")
    (asked,) = server.asked
    assert (asked.method, asked.path, asked.headers["authorization"]) == (
        "POST",
        "/v1/chat/completions",
        f"Bearer {KEY}",
    )
    assert validated(asked.json) == {
        "model": "Qwen/Qwen3-VL-Plus",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what is this?"},
                    {"type": "image_url", "image_url": {"url": asked.image_url}},
                ],
            }
        ],
        "max_tokens": 16384,
        "temperature": 0.1,
        "top_p": 1,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_large_photo_arrives_upright_small_and_private(describe: Ask, server: Server, large_photo: Path) -> None:
    run = describe(large_photo, "what is this?", "--json")
    url = server.asked[0].image_url
    sent = picture(url)
    assert sent.size == (1376, 1856)
    assert (sent.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}, dict(sent.getexif())) == (
        True,
        {},
    )
    assert not [secret for secret in draw.SECRETS if secret in base64.b64decode(url.partition(",")[2])]
    assert len(url) < 0.15 * 4 / 3 * large_photo.stat().st_size
    sky, hill = (sent.resize((8, 8)).getpixel(place) for place in ((4, 0), (6, 7)))
    assert isinstance(sky, tuple)
    assert isinstance(hill, tuple)
    assert (max(sky) == sky[2], max(hill) == hill[1]) == (True, True)
    (image,) = run.json["images"]
    assert (image["width"], image["height"], image["format"]) == (3000, 4000, "JPEG")
    assert (image["sent"]["width"], image["sent"]["height"], image["sent"]["tokens_estimate"]) == (1376, 1856, 2496)


@pytest.mark.parametrize(
    ("name", "mime", "format_"),
    [
        ("lighthouse.webp", "image/jpeg", "WEBP"),
        ("lighthouse.avif", "image/jpeg", "AVIF"),
        ("lighthouse.heic", "image/jpeg", "HEIF"),
        ("lighthouse.tiff", "image/png", "TIFF"),
        ("lighthouse.bmp", "image/png", "BMP"),
        ("lighthouse.gif", "image/png", "GIF"),
        ("screenshot.png", "image/png", "PNG"),
    ],
)
def test_every_common_format_is_sent_as_jpeg_or_png(
    describe: Ask, server: Server, name: str, mime: str, format_: str
) -> None:
    run = describe(draw.IMAGES / name, "what?", "--json")
    assert run.exit_code == 0
    sent = picture(server.asked[0].image_url)
    (image,) = run.json["images"]
    assert (image["format"], image["sent"]["mime"], sent.size) == (format_, mime, (image["width"], image["height"]))


def test_the_servers_metrics_stand_unchanged_in_json_and_statistics(describe: Ask, large_lighthouse: Path) -> None:
    run = describe(large_lighthouse, "what?", "--json", "--stats")
    assert (run.json["x_metrics"], run.json["usage"]) == (X_METRICS, USAGE)
    assert run.stderr.startswith("ttft 0.41 s · 38.4 tok/s · total 1.92 s · 120 → 48 tokens · 114 KB → ")
    assert run.stderr.endswith(" · test/vlm\n")


def test_without_metrics_of_the_server_ours_are_shown_and_marked(
    describe: Ask, server: Server, lighthouse: Path
) -> None:
    server.answer = Reply([delta("x", finish="stop"), DONE])
    run = describe(lighthouse, "what?", "--stats")
    assert run.stderr.startswith("ttft 0.")
    assert " s (measured here) · " in run.stderr


@pytest.mark.parametrize("arguments", [["--json"], ["--json", "--no-stream"], ["--json", "--stats", "-v"]])
def test_json_holds_one_object_and_the_text_byte_for_byte(
    describe: Ask, server: Server, lighthouse: Path, arguments: list[str]
) -> None:
    server.answer = document(HOSTILE) if "--no-stream" in arguments else stream(*HOSTILE)
    run = describe(lighthouse, "what?", *arguments)
    assert (run.exit_code, run.json["ok"], run.json["text"]) == (0, True, HOSTILE)


def test_a_pipe_gets_the_text_byte_for_byte(describe: Ask, server: Server, lighthouse: Path) -> None:
    server.answer = stream(*HOSTILE)
    assert describe(lighthouse, "what?").stdout == HOSTILE.encode() + b"\n"


def test_an_answer_that_ends_its_last_line_gets_no_second_end(describe: Ask, server: Server, lighthouse: Path) -> None:
    server.answer = stream("one\n", "two\n")
    assert describe(lighthouse, "what?").stdout == b"one\ntwo\n"


def test_no_stream_asks_for_one_piece(describe: Ask, server: Server, lighthouse: Path) -> None:
    server.answer = document("Whole.")
    run = describe(lighthouse, "what?", "--no-stream")
    assert (run.stdout, server.asked[0].json["stream"], "stream_options" in server.asked[0].json) == (
        b"Whole.\n",
        False,
        False,
    )


def test_options_reach_the_body(describe: Ask, server: Server, lighthouse: Path) -> None:
    describe(
        *(
            lighthouse,
            "-p",
            "what?",
            "-s",
            "Be brief.",
            "-m",
            "Other/Model",
            "--max-tokens",
            "7",
            "--temperature",
            "0.5",
        ),
        *("--top-p", "0.9", "-O", "seed=42", "-O", 'stop=["x"]', "-O", "reasoning_effort=low"),
    )
    body = server.asked[0].json
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    wanted = {"model": "Other/Model", "max_tokens": 7, "temperature": 0.5, "top_p": 0.9}
    wanted |= {"seed": 42, "stop": ["x"], "reasoning_effort": "low"}
    assert {key: body[key] for key in wanted} == wanted


def test_several_images_go_into_one_request_each_named_before_it(
    describe: Ask, server: Server, lighthouse: Path
) -> None:
    run = describe(draw.IMAGES / "screenshot.png", lighthouse, "compare", "--json")
    content = server.asked[0].json["messages"][0]["content"]
    texts = [part.get("text", "image") for part in content]
    assert texts == ["compare", "Image 1: screenshot.png", "image", "Image 2: lighthouse.jpg", "image"]
    assert [Path(image["source"]).name for image in run.json["images"]] == ["screenshot.png", "lighthouse.jpg"]


def test_labels_can_be_left_out(describe: Ask, server: Server, lighthouse: Path) -> None:
    describe(lighthouse, lighthouse, "compare", "--no-labels")
    assert [part["type"] for part in server.asked[0].json["messages"][0]["content"]] == [
        "text",
        "image_url",
        "image_url",
    ]


def test_each_asks_about_every_image_by_itself_and_in_order(describe: Ask, server: Server, lighthouse: Path) -> None:
    names = [draw.IMAGES / "screenshot.png", lighthouse, draw.IMAGES / "lighthouse.gif"]
    run = describe(*names, "caption", "--each", "--json")
    assert [line["images"][0]["source"] for line in run.json_lines] == [str(name) for name in names]
    assert len(server.asked) == 3


def test_each_remembers_what_the_endpoint_refused(describe: Ask, server: Server, lighthouse: Path) -> None:
    refused = refusal(400, {"error": {"message": "top_p is not supported"}})
    server.answer = lambda asked: refused if "top_p" in asked.json else stream("A lighthouse.")
    run = describe(lighthouse, lighthouse, lighthouse, "caption", "--each", "--json")
    assert (run.exit_code, len(server.asked)) == (0, 4)
    assert [len(line["warnings"]) for line in run.json_lines] == [1, 0, 0]


@pytest.mark.parametrize(("status", "exit_code"), [(401, 3), (402, 5), (404, 5)])
def test_each_ends_at_an_error_that_every_image_would_meet(
    describe: Ask, server: Server, lighthouse: Path, status: int, exit_code: int
) -> None:
    server.answer = refusal(status, {"error": {"message": "no"}})
    run = describe(lighthouse, lighthouse, lighthouse, "caption", "--each")
    assert (run.exit_code, len(server.asked)) == (exit_code, 1)


def test_each_goes_on_after_a_bad_image_and_says_so_at_the_end(
    describe: Ask, server: Server, lighthouse: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff broken")
    run = describe("bad.jpg", lighthouse, "caption", "--each", "--json")
    assert (run.exit_code, [line["ok"] for line in run.json_lines], len(server.asked)) == (4, [False, True], 1)
    assert run.stderr.splitlines()[-1] == "error: 1 of 2 requests failed"


@pytest.mark.parametrize("is_file", [False, True])
def test_each_answer_in_a_pipe_or_a_file_has_the_name_of_its_image_above_it(
    describe: Ask, server: Server, lighthouse: Path, tmp_path: Path, *, is_file: bool
) -> None:
    (tmp_path / "bad one.jpg").write_bytes(b"\xff\xd8\xff broken")
    (tmp_path / "a.jpg").write_bytes(lighthouse.read_bytes())
    server.answer = stream("A light", "house.")
    run = describe("a.jpg", "bad one.jpg", lighthouse, "--each", *(("-o", "out.txt") if is_file else ()))
    text = (tmp_path / "out.txt").read_bytes() if is_file else run.stdout
    assert text.decode() == f"== a.jpg ==\nA lighthouse.\n\n== {lighthouse} ==\nA lighthouse.\n"
    assert (run.exit_code, "bad one.jpg" in run.stderr) == (4, True)


@pytest.mark.parametrize("options", [["--field", "text"], ["--page-separator", "--"], ["--schema", "a"]])
def test_values_and_separated_answers_have_no_name_above_them(
    describe: Ask, server: Server, lighthouse: Path, options: list[str]
) -> None:
    server.answer = stream('{"a": "x"}')
    run = describe(lighthouse, lighthouse, "--each", *options)
    assert (run.exit_code, b"==" in run.stdout) == (0, False)


def test_a_prompt_from_standard_input_may_be_named_as_curl_names_it(
    describe: Ask, server: Server, lighthouse: Path
) -> None:
    assert describe(lighthouse, "-p", "@-", stdin=b"What is this?\n").exit_code == 0
    assert server.asked[0].json["messages"][0]["content"][0]["text"] == "What is this?"


def test_more_than_eight_images_need_a_word_about_how(describe: Ask, server: Server, lighthouse: Path) -> None:
    run = describe(*[lighthouse] * 9, "compare")
    assert (run.exit_code, "--each" in run.stderr, "--together" in run.stderr, server.asked) == (2, True, True, [])
    assert describe(*[lighthouse] * 9, "compare", "--together").exit_code == 0


def test_a_link_is_passed_on_as_it_is(describe: Ask, server: Server) -> None:
    run = describe("https://example.com/a.jpg?x=1", "what?", "--json")
    assert server.asked[0].image_url == "https://example.com/a.jpg?x=1"
    assert run.json["images"][0] == {
        **dict.fromkeys(("sha256", "format", "width", "height", "bytes", "page", "sent")),
        "source": "https://example.com/a.jpg?x=1",
    }


def test_a_password_in_a_link_is_not_printed(describe: Ask, server: Server) -> None:
    run = describe("https://me:hunter2@example.com/a.jpg", "what?", "--json", "-v")
    assert server.asked[0].image_url == "https://me:hunter2@example.com/a.jpg"
    assert b"hunter2" not in run.stdout + run.stderr.encode()


def test_an_image_comes_in_on_standard_input(describe: Ask, server: Server, large_lighthouse: Path) -> None:
    run = describe("-", "what?", stdin=large_lighthouse.read_bytes())
    assert (run.exit_code, picture(server.asked[0].image_url).size) == (0, (960, 720))


@pytest.mark.parametrize(
    ("option", "stdin", "prompt"),
    [
        (["-p", "plain"], None, "plain"),
        (["-p", "@ask.txt"], None, "from a file\nof two lines"),
        (["-p", "-"], b"from a pipe\n", "from a pipe"),
        (["-p", "@@home"], None, "@home"),
        ([], None, "Describe this image."),
    ],
)
def test_the_prompt_comes_from_where_it_is_said(
    describe: Ask, server: Server, lighthouse: Path, tmp_path: Path, option: list[str], stdin: bytes | None, prompt: str
) -> None:
    (tmp_path / "ask.txt").write_text("from a file\nof two lines\n")
    assert describe(lighthouse, *option, stdin=stdin).exit_code == 0
    assert server.asked[0].json["messages"][0]["content"][0]["text"] == prompt


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (["nope.jpg"], 4, "no such image: nope.jpg"),
        (["a.jpg", "b.jgp"], 4, "no such image: b.jgp"),
        (["my photo.jpg"], 4, 'no such image: "my photo.jpg"'),
        (["a.jpg", "x", "y"], 2, "two prompts: 'x' and 'y'"),
        (["a.jpg", "x", "-p", "y"], 2, "two prompts: -p and 'x'"),
        (["notes.txt"], 4, "notes.txt is not an image"),
        (["empty.jpg"], 4, "empty.jpg is empty (0 bytes)"),
        (["folder"], 2, "folder is a folder"),
        (["cut.jpg"], 4, "cut.jpg is damaged or cut off"),
        (["no*.jpg"], 4, "no image matches no*.jpg"),
        (["/dev/null"], 4, "/dev/null is not a regular file"),
        (["only a prompt"], 2, "no image was named"),
        ([], 2, "no image was named"),
        (["a.jpg", ""], 2, "the prompt is empty"),
        (["a.jpg", "-p", "@nope.txt"], 2, "cannot read nope.txt"),
        (["a.jpg", "--each", "--together"], 2, "exclude each other"),
        (["a.jpg", "-O", "seed"], 2, "-O seed is not KEY=JSON"),
        (["a.jpg", "-O", "seed={"], 2, "'{' is not JSON"),
        (["a.jpg", "-O", "model=x"], 2, "-O cannot set model"),
        (["a.jpg", "--original", "--max-side", "64"], 2, "--original excludes"),
        (["a.jpg", "--background", "reddish"], 2, "'reddish' is not a color"),
        (["a.jpg", "-o", "nowhere/x.txt"], 2, "there is no folder"),
        (["a.jpg", "-o", "a.jpg"], 2, "which is an input"),
        (["a.jpg", "--field", "nope"], 2, "no field 'nope'"),
        (["a.jpg", "--base-url", "localhost:1"], 3, "--base-url is not an http or https URL: localhost:1"),
        (["a.jpg", "--base-url", "http://192.0.2.1/v1"], 3, "the key is not sent to 192.0.2.1 over plain http"),
        (["a.jpg", "--temperature", "nan"], 2, "--temperature"),
        (["a.jpg", "-o", "x" * 300], 2, "File name too long"),
        (["a.jpg", "-p", "@notes.txt", "-o", "notes.txt"], 2, "which is an input"),
        (["file://["], 2, "file://[ is not a URL"),
        (["file://elsewhere/a.jpg"], 4, "is on another machine"),
        (["a.jpg", "--base-url", "https://exämple..com/v1"], 3, "the base URL cannot be used"),
        (["-"], 4, "standard input is empty"),
        (["-", "-p", "-"], 2, "two arguments read standard input"),
    ],
)
def test_bad_input_gets_one_sentence_a_hint_and_its_exit_code(
    describe: Ask,
    server: Server,
    large_lighthouse: Path,
    tmp_path: Path,
    arguments: list[str],
    exit_code: int,
    says: str,
) -> None:
    (tmp_path / "a.jpg").write_bytes(large_lighthouse.read_bytes())
    (tmp_path / "cut.jpg").write_bytes(large_lighthouse.read_bytes()[:30_000])
    (tmp_path / "notes.txt").write_text("buy milk\n")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder").mkdir()
    run = describe(*arguments)
    assert (run.exit_code, run.stdout, server.asked) == (exit_code, b"", [])
    assert says in run.stderr
    as_json = describe(*arguments, "--json")
    if {"--field", "--temperature", "--background"} & set(arguments):  # refused before there could be a record
        return
    assert (as_json.exit_code, as_json.json["ok"], says in as_json.json["error"]["message"]) == (exit_code, False, True)
    assert as_json.json["error"]["hint"]


def test_a_failure_before_anything_was_asked_says_what_it_was_about(qvision: Qvision, lighthouse: Path) -> None:
    found = qvision("describe", lighthouse, "nope.jpg", "compare", "--json", "-m", "a/b").json
    assert (found["prompt"], found["model"], [image["source"] for image in found["images"]]) == (
        *("compare", "a/b"),
        [str(lighthouse), "nope.jpg"],
    )


def test_a_failure_is_written_to_the_file_that_was_asked_for(qvision: Qvision, tmp_path: Path) -> None:
    run = qvision("describe", "nope.jpg", "--json", "-o", "out.json")
    assert (run.stdout, json.loads((tmp_path / "out.json").read_text())["error"]["code"]) == (b"", "no_such_image")


@pytest.mark.parametrize("name", ["no text", "blanks, streamed", "only reasoning, streamed", "refusal"])
@pytest.mark.parametrize("options", [[], ["--json"], ["--field", "text"]])
def test_a_file_is_not_replaced_by_an_empty_or_failed_answer(
    describe: Ask, server: Server, lighthouse: Path, tmp_path: Path, name: str, options: list[str]
) -> None:
    file = tmp_path / "answer.txt"
    file.write_text("of yesterday")
    server.answer = REPLIES[name]
    run = describe(lighthouse, "what?", "-o", "answer.txt", *options)
    assert (run.exit_code, file.read_text()) == (6, "of yesterday")
    if options == ["--json"]:  # nothing is lost
        assert (run.json["ok"], run.json["error"]["code"]) == (False, UNANSWERED[name])
        assert f"note: {file} was not replaced; the text is on standard output instead" in run.stderr


def test_a_new_file_keeps_a_partial_answer_and_an_old_one_its_content(
    describe: Ask, server: Server, lighthouse: Path, tmp_path: Path
) -> None:
    server.answer = Reply([delta("A light", finish="length"), DONE])
    assert describe(lighthouse, "what?", "-o", "new.txt").stdout == b""
    assert (tmp_path / "new.txt").read_text() == "A light\n"
    server.answer = Reply([delta("A lig", finish="length"), DONE])
    run = describe(lighthouse, "what?", "-o", "new.txt")
    assert (run.stdout, (tmp_path / "new.txt").read_text()) == (b"A lig\n", "A light\n")


THOUGHT = Reply([delta("Is it a "), delta("cat?\n</thi"), delta("nk>\n\n7"), delta("", finish="stop"), DONE])


@pytest.mark.parametrize(
    "options",
    [[], ["--json"], ["--field", "text"], ["--schema", '{"type": "integer"}'], ["-o", "answer.txt"], ["--color", "always"]],
)  # fmt: skip
def test_no_output_of_a_thinking_model_has_its_thought(
    describe: Ask, server: Server, lighthouse: Path, tmp_path: Path, options: list[str]
) -> None:
    """The template of Qwen's thinking models has the opening tag, so that only the closing one is in the answer."""
    server.answer = THOUGHT
    run = describe(lighthouse, "what?", "-m", "Qwen/Qwen3-VL-235B-A22B-Thinking", *options)
    output = run.stdout.decode() + ((tmp_path / "answer.txt").read_text() if "-o" in options else "")
    assert run.exit_code == 0
    if options == ["--json"]:
        assert (run.json["text"], run.json["reasoning"]) == ("7", "Is it a cat?\n")
    else:
        assert output.strip() == "7"


def test_a_pipe_shows_late_thought_apart_and_a_file_does_not_have_it(
    describe: Ask, server: Server, lighthouse: Path, tmp_path: Path
) -> None:
    server.answer = THOUGHT
    run = describe(lighthouse, "what?")
    assert run.stdout == b"Is it a cat?\n\n\n7\n"
    assert run.stderr == "note: the text before the answer was the model's reasoning, as its closing tag shows\n"
    describe(lighthouse, "what?", "-o", "answer.txt")
    assert (tmp_path / "answer.txt").read_text() == "7\n"


def test_output_to_a_dash_is_standard_output(describe: Ask, lighthouse: Path) -> None:
    assert describe(lighthouse, "what?", "-o", "-").stdout == b"A lighthouse.\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["describe", "-dash.jpg"], "error: -dash.jpg would be read as an option\nhint: For the file: ./-dash.jpg\n"),
        (["a.jpg"], "error: a.jpg is not a command\nhint: For example: qvision describe a.jpg\n"),
    ],
)
def test_a_file_name_in_the_wrong_place_is_explained(
    qvision: Qvision, tmp_path: Path, arguments: list[str], says: str
) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / "-dash.jpg").touch()
    run = qvision(*arguments)
    assert (run.exit_code, run.stdout, run.stderr) == (2, b"", says)


def test_an_answer_without_end_is_ended(describe: Ask, server: Server, lighthouse: Path) -> None:
    server.answer = Reply([delta("x" * 1_000_000)] * 70)
    run = describe(lighthouse, "what?", "--no-loop-check", "-o", "answer.txt")
    assert (run.exit_code, "the answer exceeds 64 million characters" in run.stderr) == (6, True)


def test_without_a_key_it_says_how_to_get_going(qvision: Qvision, lighthouse: Path) -> None:
    run = qvision("describe", lighthouse)
    assert (run.exit_code, run.stdout) == (3, b"")
    assert run.stderr.splitlines() == [
        "error: no API key: QUBRID_API_KEY is not set, and none is stored for profile qubrid",
        (
            "hint: Create a key at https://platform.qubrid.com/api-keys and run: qvision auth login, "
            "or: export QUBRID_API_KEY=YOUR_KEY; or add --offline to try it without."
        ),
    ]


def test_a_custom_endpoint_needs_no_key(describe: Ask, server: Server, lighthouse: Path) -> None:
    assert describe(lighthouse, env={"QUBRID_API_KEY": ""}).exit_code == 0
    assert "authorization" not in server.asked[0].headers


@pytest.mark.parametrize("key", [f"Bearer {KEY}", f"  {KEY}\n", f'"{KEY}"', f"bearer  {KEY} "])
def test_a_key_is_cleaned_of_what_people_paste_along(describe: Ask, server: Server, lighthouse: Path, key: str) -> None:
    describe(lighthouse, env={"QUBRID_API_KEY": key})
    assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"


CUT = "the answer is incomplete"


@pytest.mark.parametrize(
    ("reply", "exit_code", "text", "code"),
    [
        (Reply([delta("par"), delta("tial", finish="length"), DONE]), 6, "partial", "length"),
        (Reply([delta("partial", finish="content_filter"), DONE]), 6, "partial", "content_filter"),
        (Reply([delta("partial")]), 6, "partial", "cut_off"),
        (Reply([delta("partial")], hang_up=True), 6, "partial", "network"),
        (Reply([delta("partial"), event({"error": {"message": "boom", "code": 500}}), DONE]), 6, "partial", "500"),
        (Reply([delta("partial"), b'data: {"choi\n\n']), 6, "partial", "endpoint"),
        (Reply([delta("")]), 6, "", "cut_off"),
        (Reply([event({"error": {"message": "boom", "code": "oops"}}), DONE]), 5, "", "oops"),
        (Reply([b'{"error": "boom"}'], headers=JSON), 5, "", "endpoint"),
        (Reply([]), 5, "", "no_answer"),
        (Reply([b"<html>Hello</html>"]), 5, "", "no_answer"),
        (Reply([b'{"status": "ok"}'], headers=JSON), 5, "", "no_answer"),
        (refusal(401, {"error": {"message": "bad key", "code": "invalid_api_key"}}), 3, "", "invalid_api_key"),
        (refusal(402, {"detail": "no money"}), 5, "", "insufficient_quota"),
        (refusal(404, {"error": {"message": "no model", "code": "model_not_found"}}), 5, "", "model_not_found"),
        (refusal(500, {"message": "ouch"}), 5, "", "endpoint"),
        (refusal(307, {}, Location="http://elsewhere.example/v1/chat/completions"), 5, "", "redirect"),
    ],
)
def test_every_bad_ending_is_told_and_keeps_what_came(
    describe: Ask, server: Server, lighthouse: Path, reply: Reply, exit_code: int, text: str, code: str
) -> None:
    server.answer = reply
    run = describe(lighthouse, "what?", "--json", "--retries", "0")
    found = run.json
    assert (run.exit_code, found["ok"], found["complete"], found["text"]) == (exit_code, False, False, text)
    assert found["error"]["code"] == code
    assert run.stderr.startswith("error: ")
    assert (CUT in run.stderr) == (exit_code == 6)
    plain = describe(lighthouse, "what?", "--retries", "0")
    assert (plain.exit_code, plain.stdout) == (exit_code, f"{text}\n".encode() if text else b"")


@pytest.mark.parametrize(
    "reply",
    [
        refusal(401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}),
        refusal(400, {"error": {"message": "x" * 390 + KEY, "code": KEY, "request_id": KEY}}),
        refusal(500, {"error": "x"}, **{"X-Request-Id": KEY}),
        Reply([json.dumps({"headers": {"Authorization": f"Bearer {KEY}"}}).encode()], headers=JSON),
        Reply([b"x" * 70 + KEY.encode()]),
        Reply([f"data: {'x' * 390}{KEY}\n\n".encode()]),
        Reply([delta("Hi"), event({"error": {"message": KEY, "code": KEY}})]),
    ],
)
@pytest.mark.parametrize("form", [["-v"], ["--json"]])
def test_a_key_that_a_server_echoes_is_repeated_nowhere(
    describe: Ask, server: Server, lighthouse: Path, reply: Reply, form: list[str]
) -> None:
    server.answer = reply
    run = describe(lighthouse, "what?", "--retries", "0", *form)
    assert run.exit_code in {3, 5, 6}
    assert KEY[:6].encode() not in run.stdout + run.stderr.encode()


def test_a_key_among_the_facts_of_an_answer_is_repeated_nowhere(
    describe: Ask, server: Server, lighthouse: Path
) -> None:
    choice = {"index": 0, "delta": {"content": "Hi."}, "finish_reason": KEY}
    facts = {"id": KEY, "model": f"m {KEY}", "usage": {"by": [KEY], KEY: 1}}
    server.answer = Reply([event(facts | {"choices": [choice]}), DONE])
    found = describe(lighthouse, "what?", "--json", "--stats", "-v").json
    assert (found["text"], found["id"], found["finish_reason"]) == ("Hi.", "[key]", "[key]")
    assert found["usage"] == {"by": ["[key]"], "[key]": 1}


def test_what_is_meant_for_this_machine_goes_through_no_proxy(describe: Ask, server: Server, lighthouse: Path) -> None:
    with Server() as proxy:
        run = describe(lighthouse, "what?", env={"HTTP_PROXY": f"http://127.0.0.1:{proxy.port}"})
        assert (run.exit_code, proxy.asked, server.asked[0].path) == (0, [], "/v1/chat/completions")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        (
            "ALL_PROXY",
            "socks5://me:hunter2@127.0.0.1:1",
            "the proxy in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY cannot be used",
        ),
        ("HTTPS_PROXY", "gopher://127.0.0.1:1", "the proxy in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY cannot be used"),
        ("SSL_CERT_FILE", "/nowhere.pem", "the certificates cannot be read"),
    ],
)
def test_an_environment_that_cannot_work_is_exit_3(
    describe: Ask, lighthouse: Path, name: str, value: str, says: str
) -> None:
    run = describe(lighthouse, "what?", "--base-url", "https://192.0.2.1/v1", env={name: value})
    assert (run.exit_code, run.stdout, says in run.stderr, "hunter2" in run.stderr) == (3, b"", True, False)


def test_a_redirect_within_the_origin_is_followed(describe: Ask, server: Server, lighthouse: Path) -> None:
    moved = refusal(308, {}, Location="/v2/chat/completions")
    server.answer = lambda asked: stream("There.") if asked.path.startswith("/v2") else moved
    assert describe(lighthouse, "what?").stdout == b"There.\n"
    assert [asked.path for asked in server.asked] == ["/v1/chat/completions", "/v2/chat/completions"]


def test_stream_options_are_left_out_where_they_are_refused(describe: Ask, server: Server, lighthouse: Path) -> None:
    no = refusal(422, {"detail": "Extra inputs are not permitted: stream_options"})
    server.answer = lambda asked: no if "stream_options" in asked.json else stream("Well.")
    run = describe(lighthouse, "what?", "--json")
    assert (run.exit_code, run.json["text"], len(server.asked)) == (0, "Well.", 2)
    assert run.json["warnings"] == ["the endpoint refused stream_options, so it was dropped"]


def test_metrics_behind_done_are_still_taken(describe: Ask, server: Server, lighthouse: Path) -> None:
    server.answer = Reply([delta("Hi.", finish="stop"), DONE, figures()])
    assert describe(lighthouse, "what?", "--json").json["x_metrics"] == X_METRICS


def test_a_connection_that_stays_open_behind_done_does_not_hold_us_up(
    describe: Ask, server: Server, lighthouse: Path
) -> None:
    server.answer = Reply([delta("Hi.", finish="stop"), DONE, Hold()])
    assert (describe(lighthouse, "what?").stdout, server.asked[0].path) == (b"Hi.\n", "/v1/chat/completions")


def test_silence_ends_after_the_timeout(describe: Ask, server: Server, lighthouse: Path) -> None:
    server.answer = Reply([Hold()])
    run = describe(lighthouse, "what?", "--timeout", "0.5")
    assert (run.exit_code, "sent no data for 0.5 s" in run.stderr) == (5, True)


def test_reasoning_is_kept_out_of_the_answer(describe: Ask, server: Server, lighthouse: Path) -> None:
    server.answer = stream("<thi", "nk>hm", "m</th", "ink>\n\nYes", ".")
    found = describe(lighthouse, "what?", "--json").json
    assert (found["text"], found["reasoning"]) == ("Yes.", "hmm")


def test_thinking_goes_to_stderr(describe: Ask, server: Server, lighthouse: Path) -> None:
    thought = event({"choices": [{"delta": {"reasoning_content": "hmm "}}]})
    server.answer = Reply([thought, thought, delta("Yes.", finish="stop"), DONE])
    run = describe(lighthouse, "what?", "--thinking")
    assert (run.stdout, run.stderr.strip()) == (b"Yes.\n", "hmm hmm")


@pytest.mark.parametrize(
    ("path", "printed"),
    [
        ("text", "A lighthouse.\n"),
        ("x_metrics.tps", "38.4\n"),
        ("images.0.format", "JPEG\n"),
        ("usage", '{"prompt_tokens":120,"completion_tokens":48,"total_tokens":168}\n'),
        ("cost.amount", "null\n"),
    ],
)
def test_field_prints_one_value_bare(describe: Ask, lighthouse: Path, path: str, printed: str) -> None:
    assert describe(lighthouse, "what?", "--field", path).stdout.decode() == printed


def test_a_field_that_the_server_left_out_is_null_and_no_answer_is_lost(describe: Ask, lighthouse: Path) -> None:
    run = describe(lighthouse, "what?", "--field", "usage.cached_tokens")
    assert (run.exit_code, run.stdout) == (0, b"null\n")


def test_output_writes_the_file_and_leaves_stdout_empty(describe: Ask, lighthouse: Path, tmp_path: Path) -> None:
    run = describe(lighthouse, "what?", "-o", "answer.txt")
    assert (run.stdout, (tmp_path / "answer.txt").read_bytes()) == (b"", b"A lighthouse.\n")


def test_verbose_says_what_goes_over_the_wire_without_key_or_image(
    describe: Ask, server: Server, lighthouse: Path
) -> None:
    run = describe(lighthouse, "what?", "-v")
    assert f"POST {server.url}/chat/completions (" in run.stderr
    assert "HTTP 200 after " in run.stderr
    assert server.asked[0].image_url[-40:] not in run.stderr


def test_verbose_names_the_request_that_was_refused(describe: Ask, server: Server, lighthouse: Path) -> None:
    server.answer = refusal(400, {"error": "no"}, **{"X-Request-Id": "req-7"})
    assert re.search(
        r"^HTTP 400 after 0\.\d\d s, request id req-7$", describe(lighthouse, "what?", "-v").stderr, re.MULTILINE
    )


def test_a_pillow_that_warns_is_not_heard(describe: Ask, lighthouse: Path, tmp_path: Path) -> None:
    data = lighthouse.read_bytes()
    broken = data.replace(b"Exif\0\0", b"Exif\0\0\xff\xff", 1)
    (tmp_path / "odd.jpg").write_bytes(broken)
    run = describe("odd.jpg", "what?")
    assert (run.exit_code, run.stderr) == (0, "")


def test_file_names_of_any_bytes_survive(describe: Ask, lighthouse: Path, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/-odd \xff\n'\".jpg"
    with open(name, "wb") as file:
        file.write(lighthouse.read_bytes())
    run = describe(os.fsdecode(name), "what?", "--json")
    assert os.fsencode(run.json["images"][0]["source"]) == name


def test_original_sends_every_pixel_upright_and_without_metadata(
    describe: Ask, server: Server, large_photo: Path
) -> None:
    describe(large_photo, "what?", "--original")
    assert picture(server.asked[0].image_url).size == (3000, 4000)


@pytest.mark.parametrize(
    ("option", "size"),
    [(["--max-side", "256"], (192, 256)), (["--max-pixels", "100000"], (256, 352)), ([], (1376, 1856))],
)
def test_sizes_are_kept(
    describe: Ask, server: Server, large_photo: Path, option: list[str], size: tuple[int, int]
) -> None:
    describe(large_photo, "what?", *option)
    assert picture(server.asked[0].image_url).size == size


def test_the_background_of_a_transparent_image(describe: Ask, server: Server, tmp_path: Path) -> None:
    path = tmp_path / "logo.png"
    Image.new("RGBA", (64, 64)).save(path)
    describe(path, "what?", "--background", "red")
    assert picture(server.asked[0].image_url).convert("RGB").getpixel((9, 9)) == (255, 0, 0)


def test_offline_needs_neither_key_nor_network(qvision: Qvision, large_lighthouse: Path) -> None:
    run = qvision("describe", large_lighthouse, "what is this?", "--offline", "--json")
    found = run.json
    assert (run.exit_code, found["ok"], found["model"]) == (0, True, "offline")
    assert "960 × 720 pixels" in found["text"]
    assert found["text"].startswith("**No model was asked:**")
    assert found["x_metrics"].keys() == X_METRICS.keys()


def test_shell_loops_handle_every_line(
    server: Server, lighthouse: Path, tmp_path: Path, quick_program: list[str]
) -> None:
    """The program reads no standard input that was not given to it: ``while read`` keeps its lines."""
    (tmp_path / "list.txt").write_text(f"{lighthouse}\n{draw.IMAGES / 'screenshot.png'}\n{lighthouse}\n")
    program = shlex.join(quick_program)
    script = f'while read f; do {program} describe "$f" caption; done < list.txt'
    env = environment({"QUBRID_BASE_URL": server.url})
    done = subprocess.run(["bash", "-c", script], capture_output=True, env=env, cwd=tmp_path, check=True, timeout=60)
    assert done.stdout == b"A lighthouse.\n" * 3


def test_a_closed_pipe_ends_quietly(server: Server, lighthouse: Path, tmp_path: Path, quick_program: list[str]) -> None:
    server.answer = stream(*["word " * 100] * 200)  # more than a pipe holds
    script = f"{shlex.join(quick_program)} describe {lighthouse} --no-loop-check | head -c 20"
    env = environment({"QUBRID_BASE_URL": server.url})
    done = subprocess.run(["bash", "-c", script], capture_output=True, env=env, cwd=tmp_path, check=True, timeout=60)
    assert (done.stdout, done.stderr) == (b"word word word word ", b"")


@pytest.mark.parametrize(
    ("line", "exit_code", "said"),
    [
        ("describe nope.jpg 2>/dev/full", 4, ""),
        ("describe nope.jpg 2>&-", 4, ""),
        ("describe {lighthouse} --offline --stats 2>/dev/full >/dev/null", 0, ""),
        ("--version >/dev/full", 1, ""),
        ("--help >/dev/full", 1, "error: cannot write to standard output: No space left on device\n"),
        (
            "describe {lighthouse} --offline --color always >/dev/full",
            1,
            "error: cannot write to standard output: No space left on device\n",
        ),
        ("describe {lighthouse} --offline >&-", 1, "error: standard output is closed\n"),
    ],
)
def test_the_exit_code_holds_where_nobody_can_be_told(
    lighthouse: Path, tmp_path: Path, line: str, exit_code: int, said: str
) -> None:
    script = f"{' '.join(command())} {line.format(lighthouse=lighthouse)}"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, env=environment(), cwd=tmp_path, check=False, timeout=60
    )
    stderr = re.sub("\x1b\\[[0-9;]*m", "", done.stderr.decode())
    assert (done.returncode, stderr.partition("hint:")[0]) == (exit_code, said)


def _waits_for_standard_input(pid: int) -> bool:
    """Whether one thread is in read(0, …) and the main thread waits for it: in futex without a time-out (x86-64 numbers).

    Earlier the main thread may still be importing, where Python itself can lose a KeyboardInterrupt (in a weak reference's
    callback). Waiting for the lock of the interpreter has a time-out.
    """
    calls = {path.parent.name: path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("[0-9]*/syscall")}
    main = calls.get(str(pid), [])
    return main[:1] == ["202"] and main[4] == "0x0" and any(call[:2] == ["0", "0x0"] for call in calls.values())


def test_ctrl_c_ends_it_while_a_pipe_is_waited_for() -> None:
    with subprocess.Popen(
        command("describe", "-", "--offline", "-v"), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()
    ) as run:
        while not _waits_for_standard_input(run.pid):
            os.sched_yield()
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=30) == 130


def test_a_handled_ctrl_c_does_not_decide_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text(
        "import sys, qubrid_cli.__main__\n"
        "try: exec('raise KeyboardInterrupt')  # as dataclasses do with the code that they make\n"
        "except KeyboardInterrupt: pass\n"
        "sys.argv = ['qvision', '--version']; sys.exit(qubrid_cli.__main__.main())\n"
    )
    script = [sys.executable, "-m", "interrupted"]
    assert subprocess.call(script, cwd=tmp_path, stdout=subprocess.DEVNULL, env=environment(), timeout=60) == 0


def test_a_full_disk_is_told_in_a_sentence(server: Server, lighthouse: Path) -> None:
    script = f"{' '.join(command())} describe {lighthouse} > /dev/full"
    env = environment({"QUBRID_BASE_URL": server.url})
    done = subprocess.run(["bash", "-c", script], capture_output=True, env=env, check=False, timeout=60)
    assert (done.returncode, done.stderr.decode().splitlines()[0]) == (
        1,
        "error: cannot write to standard output: No space left on device",
    )


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_ctrl_c_keeps_the_partial_text_and_exits_130(server: Server, lighthouse: Path, form: list[str]) -> None:
    arrived = threading.Event()

    def answer(_: object) -> Reply:
        arrived.set()
        return Reply([delta("par"), delta("tial"), Hold()])

    server.answer = answer
    env = environment({"QUBRID_BASE_URL": server.url})
    run = subprocess.Popen(
        command("describe", lighthouse, *form), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
    )
    assert run.stdout is not None
    assert arrived.wait(30)
    shown = b"" if form else os.read(run.stdout.fileno(), 7)
    while not form and len(shown) < 7:
        shown += os.read(run.stdout.fileno(), 7)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=30)
    assert run.returncode == 130
    assert err.startswith(b"error: stopped by Ctrl-C")
    if form:
        assert json.loads(out)["error"]["code"] == "interrupted"
    else:
        assert shown + out == b"partial\n"
