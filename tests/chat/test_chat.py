"""A chat as scripts lead it: a message per line, answers on standard output."""

import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any, Protocol

import pytest
from PIL import Image

from qubrid_cli import cli

from ..conftest import KEY, Run, at_home
from ..support.server import Asked, Reply, Server, delta, event, refusal, stream
from .test_terminal import messages

JPEG = "data:image/jpeg"
PNG = "data:image/png;"


class Talk(Protocol):
    def __call__(self, *arguments: object, lines: str = "") -> Run: ...


@pytest.fixture
def talk(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Talk:
    """``qvision chat`` in this process, against the test server."""
    monkeypatch.chdir(tmp_path)
    variables = {**at_home(tmp_path / "home"), "QUBRID_API_KEY": KEY, "QUBRID_BASE_URL": server.url, "FORCE_COLOR": ""}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: object, lines: str = "") -> Run:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
        exit_code = cli.main(["chat", *map(str, arguments)])
        stdout, stderr = capfdbinary.readouterr()
        return Run(exit_code, stdout, stderr.decode().replace(os.linesep, "\n"))

    return run


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image that is sent as PNG."""
    Image.new("RGB", (40, 30), "teal").save(tmp_path / "teal.png")
    return tmp_path / "teal.png"


def too_long(prompt: int, size: int = 4096) -> Reply:
    text = f"This model's maximum context length is {size} tokens. However, your messages resulted in {prompt} tokens."
    return refusal(400, {"error": {"message": text, "code": "context_length_exceeded"}})


def counted(text: str, prompt: int, answer: int) -> Reply:
    usage = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
    return Reply([delta(text, finish="stop"), event({"choices": [], "usage": usage})])


def test_each_line_is_a_question_about_what_was_said(talk: Talk, server: Server, image: Path) -> None:
    server.answer = lambda _: stream("<think>hm</think>", f"Answer {len(server.asked)}.\n")
    run = talk(image, "hello", "-s", "Be brief.", lines="one\n\n  //etc is a folder \ntwo\\\nlines\n")
    assert (run.exit_code, run.stdout, run.stderr) == (0, b"Answer 1.\n\nAnswer 2.\n\nAnswer 3.\n\nAnswer 4.\n", "")
    assert messages(server.asked[3]) == [
        ("system", ["Be brief."]),
        ("user", ["hello", PNG]),
        ("assistant", ["Answer 1.\n"]),
        ("user", ["one"]),
        ("assistant", ["Answer 2.\n"]),
        ("user", ["/etc is a folder"]),
        ("assistant", ["Answer 3.\n"]),
        ("user", ["two\nlines"]),
    ]


def test_images_are_numbered_across_messages_and_sent_where_they_came_in(
    talk: Talk, server: Server, image: Path, lighthouse: Path
) -> None:
    lines = f"one\n/image {lighthouse} '{image}'\ntwo\n/images\nthree\n"
    run = talk(image, lines=lines)
    assert messages(server.asked[2])[::2] == [
        ("user", ["one", PNG]),
        ("user", ["two", "Image 2: lighthouse.jpg", JPEG, "Image 3: teal.png", PNG]),
        ("user", ["three"]),
    ]
    assert [line.partition(":")[0] for line in run.stderr.splitlines()] == [
        f"1  {image}",
        f"2  {lighthouse}",
        f"3  {image}",
    ]


def test_without_labels_later_images_have_none_either(talk: Talk, server: Server, image: Path) -> None:
    talk(image, "one", "--no-labels", lines=f"/image {image}\ntwo\n")
    assert messages(server.asked[1])[2] == ("user", ["two", PNG])


@pytest.mark.parametrize(
    ("lines", "exit_code", "answers", "error"),
    [
        ("one\nfail\nthree", 5, 2, "HTTP 400"),
        ("one\nbusy\nthree", 5, 2, "HTTP 429"),
        ("one\ncut\nthree", 6, 3, "it reached the limit of tokens"),
        ("one\nblank\nthree", 6, 2, "only whitespace"),
        ("one\nfail\n/nonsense\nthree", 5, 1, "HTTP 400"),
        ("one\nkey\nthree", 3, 1, "refused the key (HTTP 401)"),
        ("one\n/nonsense\nthree", 2, 1, "/nonsense is not a command"),
        ("one\n/sav x\nthree", 2, 1, "/sav is not a command; did you mean /save?"),
        ("one\n/home/me/a.jpg\nthree", 2, 1, "/home/me/a.jpg is not a command"),
        ("one\n/help me\nthree", 2, 1, "/help takes no argument: me"),
        ("one\n/image nope.png\nthree", 4, 1, "no such image: nope.png"),
        (f"one\n/image {'teal.png ' * 9}\nthree", 2, 1, "9 images for one message"),
        ("one\n/image\nthree", 2, 1, "/image needs a file or a link"),
        ("one\n/image .\nthree", 2, 1, ". is a folder"),
        ("one\n/image 'a\nthree", 2, 1, "a quote is not closed: 'a"),
        ("one\n/image -\nthree", 2, 1, "standard input cannot be an image here"),
        ("one\n/clear it\nthree", 2, 1, "/clear it: unknown word"),
        ("one\n/save talk.txt\nthree", 2, 1, "/save talk.txt: unknown kind of file"),
        ("one\n/save\nthree", 2, 1, "/save needs the name of a file"),
        ("one\n/save teal.png/x.md\nthree", 1, 1, "cannot write teal.png/x.md"),
        ("/retry", 2, 0, "there is no question to send again"),
        ("/undo\n/undo", 2, 0, "there is nothing to undo"),
        ("/save talk.md", 2, 0, "there is no answer to save"),
    ],
)
def test_failures(
    talk: Talk, server: Server, image: Path, lines: str, exit_code: int, answers: int, error: str
) -> None:
    """A question that fails does not stop the others; a command does, because messages may rely on it."""
    replies = {
        "fail": refusal(400, {"error": {"message": "no"}}),
        "busy": refusal(429, {"error": {"message": "busy"}}),
        "key": refusal(401, {"error": {"message": "who?"}}),
        "blank": stream(" "),
        "cut": Reply([delta("Half", finish="length")]),
    }

    def reply(asked: Asked) -> Reply:
        return replies.get(asked.json["messages"][-1]["content"][0]["text"], stream("Fine."))

    server.answer = reply
    run = talk(image, "--retries", "0", lines=lines)
    assert (run.exit_code, len(run.stdout.split())) == (exit_code, answers)
    first, hint, *_ = run.stderr.splitlines()
    assert first.startswith("error: ")
    assert error in first
    assert hint.startswith("hint: ")


def test_json_is_a_record_per_answer(talk: Talk, server: Server, image: Path) -> None:
    answers = [stream("One."), refusal(400, {"error": {"message": "no"}}), stream("Three.")]
    server.answer = lambda _: answers[len(server.asked) - 1]
    run = talk(image, "--json", lines="one\ntwo\nthree\n")
    assert [(line["ok"], line["prompt"], line["text"]) for line in run.json_lines] == [
        (True, "one", "One."),
        (False, "two", ""),
        (True, "three", "Three."),
    ]
    assert [len(line["images"]) for line in run.json_lines] == [1, 0, 0]


@pytest.mark.parametrize(
    ("lines", "last"),
    [
        ("one\ntwo\n/retry\n", ["one", "Answer 1.", "two"]),
        ("one\ntwo\n/undo\nthree\n", ["one", "Answer 1.", "three"]),
        ("one\n/undo\ntwo\n", [["two", PNG]]),
        ("one\n/undo\n/undo\ntwo\n", ["two"]),
        ("one\ntwo\n/clear\nthree\n", [["three", PNG]]),
        ("one\n/clear all\nthree\n", ["three"]),
        ("one\nfail\n/retry\n", ["one", "Answer 1.", "fail"]),
        ("one\nfail\n/undo\n/retry\n", [["one", PNG]]),
        ("one\nfail\nthree\n", ["one", "Answer 1.", "three"]),
        ("one\n/system Be brief.\ntwo\n", ["Be brief.", "one", "Answer 1.", "two"]),
        ("one\n/system Be brief.\n/system -\ntwo\n", ["one", "Answer 1.", "two"]),
    ],
)
def test_commands_change_what_is_sent_next(
    talk: Talk, server: Server, image: Path, lines: str, last: list[Any]
) -> None:
    def reply(asked: Asked) -> Reply:
        is_failure = asked.json["messages"][-1]["content"][0]["text"] == "fail"
        return refusal(400, {"error": {"message": "no"}}) if is_failure else stream(f"Answer {len(server.asked)}.")

    server.answer = reply
    talk(image, lines=lines)
    sent = [content for _, content in messages(server.asked[-1])]
    assert [[text for text in content if text != PNG or len(last) == 1] for content in sent] == [
        content if isinstance(content, list) else [content] for content in last
    ]


def test_another_model_answers_from_then_on(talk: Talk, server: Server, image: Path) -> None:
    run = talk(image, "-m", "first", lines="one\n/model second\ntwo\n/model\n")
    assert [asked.json["model"] for asked in server.asked] == ["first", "second"]
    assert run.stderr == "second\n"


def test_a_failed_retry_keeps_the_answer(talk: Talk, server: Server, image: Path) -> None:
    answers = [stream("One."), refusal(400, {"error": {"message": "no"}}), stream("Two.")]
    server.answer = lambda _: answers[len(server.asked) - 1]
    talk(image, lines="one\n/retry\ntwo\n")
    assert messages(server.asked[2]) == [("user", ["one", PNG]), ("assistant", ["One."]), ("user", ["two"])]


def test_what_the_endpoint_refuses_is_not_sent_again(talk: Talk, server: Server, image: Path) -> None:
    def reply(asked: Asked) -> Reply:
        if "top_p" in asked.json:
            return refusal(400, {"error": {"message": "top_p is not supported"}})
        return stream("Fine.")

    server.answer = reply
    talk(image, lines="one\ntwo\n")
    assert ["top_p" in asked.json for asked in server.asked] == [True, False, False]


# The context


def test_the_oldest_turns_are_left_out_and_those_with_images_last(
    talk: Talk, server: Server, image: Path, tmp_path: Path
) -> None:
    def reply(asked: Asked) -> Reply:
        return stream("Fine.") if len(asked.json["messages"]) <= 5 else too_long(4000)

    server.answer = reply
    run = talk(image, "--session", "talk.json", lines="one\ntwo\nthree\nfour\n/tokens\n")
    assert messages(server.asked[-1]) == [
        ("user", ["one", PNG]),
        ("assistant", ["Fine."]),
        ("user", ["four"]),
    ]
    note = "note: the conversation is too long for the model's context; no longer sent: 2 old questions"
    assert run.stderr.splitlines()[-1] == "No longer sent: 2 old questions."
    assert [line for line in run.stderr.splitlines() if line.startswith("note")][-1] == note
    turns = json.loads((tmp_path / "talk.json").read_text())["turns"]
    assert [turn["left_out"] for turn in turns] == [False, True, True, False]


def test_without_numbers_half_of_the_turns_are_left_out(talk: Talk, server: Server, image: Path) -> None:
    vague = refusal(400, {"error": {"message": "too long", "code": "context_length_exceeded"}})
    server.answer = lambda asked: stream("Fine.") if len(asked.json["messages"]) <= 5 else vague
    talk(image, lines="one\ntwo\nthree\nfour\n")
    assert [content[0] for _, content in messages(server.asked[-1])[::2]] == ["one", "three", "four"]


def test_a_known_context_is_not_exceeded(talk: Talk, server: Server, image: Path) -> None:
    """After the first refusal the limit of tokens follows the room, and turns are left out before they do not fit."""
    first = "maximum context length is 4096 tokens and your request has 100 input tokens, max_tokens is 16384"
    answers = [
        refusal(400, {"error": {"message": first, "code": "context_length_exceeded"}}),
        counted("".join(map(str, range(1400))), 100, 1000),
        counted("".join(map(str, range(2400))), 1200, 2000),
        counted("z", 300, 1),
    ]
    server.answer = lambda _: answers[len(server.asked) - 1]
    talk(image, lines="one\ntwo\nthree\n")
    limits = [asked.json["max_tokens"] for asked in server.asked]
    assert (len(server.asked), limits[0], limits[1]) == (4, 16384, 3996)
    assert 2800 < limits[2] < 3000
    assert [content[0] for _, content in messages(server.asked[3])[::2]] == ["one", "three"]


def test_a_question_that_is_too_long_by_itself_fails(talk: Talk, server: Server, image: Path) -> None:
    server.answer = too_long(9000)
    run = talk(image, lines="one\n")
    assert (run.exit_code, run.stdout) == (5, b"")
    assert "hint: Start again with /clear" in run.stderr


# The session


def test_a_session_goes_on_with_its_model_and_images(talk: Talk, server: Server, image: Path, lighthouse: Path) -> None:
    talk(image, lighthouse, "one", "--session", "talk.json", "-m", "mine", "-s", "Be brief.", lines=f"/image {image}\n")
    talk("--session", "talk.json", "two")
    talk("--session", "talk.json", "-m", "other", lines="three\n")
    assert [asked.json["model"] for asked in server.asked] == ["mine", "mine", "other"]
    assert server.asked[1].json["messages"][:2] == server.asked[0].json["messages"]
    assert messages(server.asked[1])[-1] == ("user", ["two", "Image 3: teal.png", PNG])
    assert [content[0] for _, content in messages(server.asked[2])] == [
        *("Be brief.", "one", "A lighthouse.", "two", "A lighthouse.", "three")
    ]


def test_a_session_of_another_profile_keeps_the_model_of_this_one(talk: Talk, server: Server, image: Path) -> None:
    talk(image, "one", "--session", "talk.json", "-m", "mine")
    run = talk("--session", "talk.json", "two", "--profile", "ollama", "--base-url", server.url)
    assert server.asked[1].json["model"] == "qwen3-vl:8b"
    assert "note: this chat began with mine; to continue with it: --profile qubrid\n" in run.stderr


def test_a_saved_chat_is_a_session_and_an_existing_file_stays(
    talk: Talk, server: Server, image: Path, tmp_path: Path
) -> None:
    lines = "/save a.json\ntwo\n/save a.json\n/save talk.md\n/save teal.md\n"
    (tmp_path / "teal.md").write_text("mine")
    run = talk(image, "one", lines=lines)
    assert (run.exit_code, run.stderr.splitlines()[0]) == (2, "error: teal.md exists")
    assert (tmp_path / "teal.md").read_text() == "mine"
    talk("--session", "a.json", "three")
    assert [content[0] for _, content in messages(server.asked[-1])[::2]] == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is damaged, or another kind of file"),
        (b"not json", "it is damaged, or another kind of file"),
        (b'{"kind": "other"}', "it is another kind of file"),
        (b'{"kind": "qvision chat", "schema_version": 2}', "its schema_version is 2"),
        (b'{"kind": "qvision chat", "schema_version": 1}', "it is damaged"),
        (None, "it is damaged"),
    ],
)
def test_a_file_that_is_no_session_is_not_changed(
    talk: Talk, server: Server, image: Path, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    if content is None:
        talk(image, "one", "--session", "talk.json")
        content = (tmp_path / "talk.json").read_bytes().replace(b"base64,", b"base64,!")
    (tmp_path / "talk.json").write_bytes(content)
    asked = len(server.asked)
    run = talk(image, "two", "--session", "talk.json")
    assert (run.exit_code, len(server.asked)) == (2, asked)
    assert run.stderr.splitlines()[0].endswith(f"is not a session of this version of qvision: {reason}")
    assert (tmp_path / "talk.json").read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir() if "talk" in path.name) == ["talk.json"]


def test_what_cannot_hold_a_session_is_refused_before_the_first_request(
    talk: Talk, server: Server, image: Path, tmp_path: Path
) -> None:
    for name, error in {
        str(tmp_path): "is a folder",
        "nowhere/talk.json": "cannot be written: No such file or directory",
    }.items():
        run = talk(image, "one", "--session", name)
        assert (run.exit_code, error in run.stderr, server.asked) == (2, True, [])


def test_answers_are_shown_even_if_the_session_cannot_be_saved(
    talk: Talk, server: Server, image: Path, tmp_path: Path
) -> None:
    def reply(_: Asked) -> Reply:
        shutil.rmtree(tmp_path / "folder", ignore_errors=True)
        return stream("Fine.")

    (tmp_path / "folder").mkdir()
    server.answer = reply
    run = talk(image, "--session", "folder/talk.json", lines="one\ntwo\n")
    assert (run.exit_code, run.stdout) == (1, b"Fine.\n\nFine.\n")
    notes = [line.partition(":")[0] for line in run.stderr.splitlines()]
    assert notes == ["note", "error", "hint"]


# The command line


@pytest.mark.parametrize(
    ("arguments", "exit_code", "error"),
    [
        (["hello"], 2, "no image was named"),
        (["-p", "hello"], 2, "no image was named"),
        (["-P", "caption"], 2, "no image was named"),
        (["nope.png"], 4, "no such image: nope.png"),
        (["-", "hello"], 2, "a chat reads its messages from standard input"),
        (["teal.png", "-p", "-"], 2, "a chat reads its messages from standard input"),
        (["teal.png", "-P", "json"], 2, "the answers to preset json are JSON"),
        ([*["teal.png"] * 9], 2, "9 images for one message"),
        (["teal.png", "red.png", "say {name}"], 2, "{name} in the prompt is ambiguous"),
        (["broken.png"], 4, "broken.png"),
    ],
)
def test_a_wrong_command_line_sends_nothing(
    talk: Talk, server: Server, image: Path, arguments: list[str], exit_code: int, error: str
) -> None:
    Image.new("RGB", (40, 30), "red").save(image.with_name("red.png"))
    image.with_name("broken.png").write_bytes(b"not an image")
    run = talk(*arguments)
    assert (run.exit_code, error in run.stderr.splitlines()[0], server.asked) == (exit_code, True, [])


def test_the_first_message_may_have_placeholders_and_a_preset(talk: Talk, server: Server, image: Path) -> None:
    talk(image, "in {stem}?", "-P", "caption", lines="and {stem}?\n")
    (first,), second = [content for _, content in messages(server.asked[0])], messages(server.asked[1])[-1]
    assert (first[0].endswith("\n\nin teal?"), second) == (True, ("user", ["and {stem}?"]))


def test_text_alone_is_possible_with_the_offline_endpoint(talk: Talk) -> None:
    run = talk("--offline", lines="hello\n")
    assert (run.exit_code, b"You asked: hello" in run.stdout) == (0, True)
