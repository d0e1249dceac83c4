"""A chat as a person leads it: the real program on a pseudo-terminal, against a real server."""

import json
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect
import pytest

from ..conftest import KEY, Qvision, at_home, command, environment
from ..output.test_terminal import Screen
from ..support.server import Asked, Hold, Reply, Server, delta, stream

#: Switches bracketed paste on, which a prompt begins with.
PROMPT = "\x1b[?2004h"


@contextmanager
def chat(
    server: Server,
    folder: Path,
    *arguments: object,
    program: Sequence[str] = command(),
    env: Mapping[str, str] = {},
    columns: int = 80,
) -> Iterator["pexpect.spawn[bytes]"]:
    """The program on a terminal, which answers no question about its cursor."""
    variables = environment(
        {
            **at_home(folder / "home"),
            "QUBRID_BASE_URL": server.url,
            "QUBRID_API_KEY": KEY,
            "TERM": "xterm-256color",
            **env,
        }
    )
    words = [*program, "chat", *map(str, arguments)]
    child: pexpect.spawn[bytes] = pexpect.spawn(
        words[0], words[1:], env=variables, cwd=str(folder), dimensions=(40, columns), timeout=60
    )
    try:
        yield child
    finally:
        child.close(force=True)


def say(child: "pexpect.spawn[bytes]", text: str) -> None:
    """Type a message when the prompt is there."""
    child.expect_exact(PROMPT)
    child.send(f"{text}\r")


def messages(asked: Asked) -> list[tuple[str, list[str]]]:
    """Who says what in a request: texts, and the beginnings of image URLs."""
    return [(message["role"], contents(message["content"])) for message in asked.json["messages"]]


def contents(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [part["text"] if part["type"] == "text" else part["image_url"]["url"][:15] for part in content]


def test_two_questions_a_stopped_answer_and_the_end(server: Server, tmp_path: Path, lighthouse: Path) -> None:
    stopped = Reply([delta("A beginning"), Hold()])
    answers = [stream("A **lighthouse**."), stream("White."), stopped, stream("Still here.")]
    server.answer = lambda _: answers[len(server.asked) - 1]
    with chat(server, tmp_path, lighthouse, "--no-stats") as child:
        say(child, "what is this?")
        child.expect_exact("lighthouse")
        say(child, "what color?")
        child.expect_exact("White.")
        say(child, "tell me more")
        child.expect_exact("A beginning")
        child.sendintr()
        child.expect_exact("Stopped.")
        say(child, "are you there?")
        child.expect_exact("Still here.")
        say(child, "/save talk.md")
        child.expect_exact("Saved as talk.md")
        child.expect_exact(PROMPT)
        child.sendeof()
        child.expect(pexpect.EOF)
        child.wait()
        assert child.exitstatus == 0
    first, second = ("user", ["what is this?", "data:image/jpeg"]), ("user", ["what color?"])
    lighthouse_, white = ("assistant", ["A **lighthouse**."]), ("assistant", ["White."])
    assert messages(server.asked[0]) == [first]
    assert messages(server.asked[1]) == [first, lighthouse_, second]
    third = [first, lighthouse_, second, white, ("user", ["tell me more"])]
    assert messages(server.asked[3]) == [*third, ("assistant", ["A beginning"]), ("user", ["are you there?"])]
    saved = (tmp_path / "talk.md").read_text()
    assert re.findall("^(?!#)(?!$).*", saved, re.MULTILINE) == [
        *("what is this?", "A **lighthouse**.", "what color?", "White.", "tell me more", "A beginning"),
        *("*(incomplete)*", "are you there?", "Still here."),
    ]


def test_a_killed_chat_goes_on_from_its_file(
    server: Server, tmp_path: Path, lighthouse: Path, qvision: Qvision
) -> None:
    answers = [stream("A lighthouse."), Reply([delta("It is"), Hold()]), stream("White.")]
    server.answer = lambda _: answers[len(server.asked) - 1]
    with chat(server, tmp_path, lighthouse, "what is this?", "--session", "talk.json") as child:
        child.expect_exact("A lighthouse.")
        say(child, "what color?")
        child.expect_exact("It is")
        second = qvision("chat", "--offline", "--session", "talk.json", "hello")
        assert (second.exit_code, second.stderr.splitlines()[0]) == (2, "error: another chat uses talk.json")
        child.kill(signal.SIGKILL)
        child.expect(pexpect.EOF)
    assert (tmp_path / "talk.json").stat().st_mode & 0o777 == 0o600
    assert KEY not in (tmp_path / "talk.json").read_text()
    with chat(server, tmp_path, "--session", "talk.json", columns=40) as child:
        child.expect_exact("1 question so far")
        say(child, "/retry")
        child.expect_exact("White.")
        say(child, "/quit")
        child.expect(pexpect.EOF)
    assert messages(server.asked[2]) == messages(server.asked[1])
    assert server.asked[2].json["messages"][0] == server.asked[0].json["messages"][0]
    turns = json.loads((tmp_path / "talk.json").read_text())["turns"]
    assert [(turn["prompt"], turn["answer"]) for turn in turns] == [
        ("what is this?", "A lighthouse."),
        ("what color?", "White."),
    ]


@pytest.mark.parametrize("has_editor", [True, False])
def test_lines_that_belong_together_are_one_message(
    server: Server, tmp_path: Path, lighthouse: Path, quick_program: list[str], *, has_editor: bool
) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without/prompt_toolkit.py").write_text("raise ImportError")
    program, env = quick_program, {}
    if not has_editor:
        program, env = command(), {"PYTHONPATH": f"{tmp_path / 'without'}:{environment()['PYTHONPATH']}"}
    with chat(server, tmp_path, lighthouse, "--no-stats", program=program, env=env) as child:
        say(child, "one\\\rtwo")
        child.expect_exact("A lighthouse.")
        child.expect_exact(PROMPT)
        child.send("\x1b[200~three\nfour\x1b[201~\r")
        child.expect_exact("A lighthouse.")
        child.expect_exact(PROMPT)
        if has_editor:
            child.send("five\x1b\rsix\r")
            child.expect_exact("A lighthouse.")
            child.expect_exact(PROMPT)
        child.sendintr()
        child.expect_exact("To leave the chat, press Ctrl-D or type /quit.")
        child.expect_exact(PROMPT)
        child.sendeof()
        child.expect(pexpect.EOF)
        child.wait()
        assert child.exitstatus == 0
    sent = [asked.json["messages"][-1]["content"][0]["text"] for asked in server.asked]
    assert sent == ["one\ntwo", "three\nfour", "five\nsix"][: 3 if has_editor else 2]


def test_a_hostile_answer_is_not_obeyed(
    server: Server, tmp_path: Path, lighthouse: Path, quick_program: list[str]
) -> None:
    server.answer = stream("evil \x1b]0;owned\x07 \x1b[2J **text**")
    output = b""
    with chat(server, tmp_path, lighthouse, "hello", "--no-stats", "-q", program=quick_program) as child:
        child.expect_exact(PROMPT)
        assert child.before is not None
        output = child.before
        child.sendeof()
        child.expect(pexpect.EOF)
    screen = Screen(80, 40).feed(output)
    assert (screen.title, screen.lines[0]) == ("", "evil ]0;owned [2J text")


def test_an_error_leaves_the_question_for_another_attempt(
    server: Server, tmp_path: Path, lighthouse: Path, quick_program: list[str]
) -> None:
    answers = [Reply([b"{}"], status=400), stream("At last.")]
    server.answer = lambda _: answers[len(server.asked) - 1]
    with chat(server, tmp_path, lighthouse, "--no-stats", program=quick_program) as child:
        say(child, "what is this?")
        child.expect_exact("The question is kept; /retry sends it again.")
        say(child, "/retry")
        child.expect_exact("At last.")
        say(child, "/nonsense")
        child.expect_exact("/nonsense is not a command")
        say(child, "/image nope.jpg")
        child.expect_exact("no such image: nope.jpg")
        say(child, "/exit")
        child.expect(pexpect.EOF)
        child.wait()
        assert child.exitstatus == 0
    assert [messages(asked) for asked in server.asked] == [[("user", ["what is this?", "data:image/jpeg"])]] * 2
