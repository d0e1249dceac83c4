"""Pages of the manual on a terminal: set to its width, and shown through the pager."""

import shlex
from collections.abc import Mapping
from pathlib import Path

import pexpect
import pyte
import pytest

from qubrid_cli.output.pager import _find_pager

from ..conftest import command, environment


@pytest.mark.parametrize(
    ("env", "pager"),
    [
        ({"PAGER": "sh -c 'cat -n'"}, ["sh", "-c", "cat -n"]),
        ({"PAGER": ""}, None),
        ({"PAGER": "cat"}, None),
        ({"PAGER": "no-such-program"}, None),
        ({"PAGER": "unclosed '"}, None),
        ({"PAGER": "sh", "TERM": "dumb"}, None),
    ],
)
def test_the_pager_is_what_the_environment_names(env: Mapping[str, str], pager: list[str] | None) -> None:
    assert _find_pager(env) == pager


def show(topic: str, *, columns: int, **variables: str) -> tuple[list[str], bytes]:
    """The lines on a terminal after a page was shown, and all that was written to it."""
    env = environment({"TERM": "xterm-256color", **variables})
    program, *arguments = command("help", topic)
    child: pexpect.spawn[bytes] = pexpect.spawn(program, arguments, env=env, dimensions=(400, columns), timeout=60)
    child.expect(pexpect.EOF)
    output = child.before or b""
    screen = pyte.Screen(columns, 400)
    pyte.ByteStream(screen).feed(output)
    return [line.rstrip() for line in screen.display], output


@pytest.mark.parametrize("columns", [40, 80, 140])
def test_a_page_is_set_to_the_width_of_the_terminal_and_links_are_topics(columns: int) -> None:
    lines, output = show("privacy", columns=columns, PAGER="cat")
    assert max(map(len, lines)) <= min(columns, 100)
    assert b".md" not in output
    assert b"\x1b[1m" in output
    assert "see where it is sent." in " ".join(" ".join(lines).split())


def test_the_pager_gets_the_page_with_color_and_the_options_of_git_for_less(tmp_path: Path) -> None:
    pager = f"sh -c {shlex.quote(f'cat > {tmp_path}/page; echo $LESS')}"
    lines, _ = show("keys", columns=80, PAGER=pager)
    assert [line for line in lines if line] == ["FRX"]
    assert b"\x1b[1m" in (tmp_path / "page").read_bytes()


def test_a_pager_may_end_early() -> None:
    lines, _ = show("keys", columns=80, PAGER="head -n 1")
    assert [line.strip() for line in lines if line] == ["keys: where the API key is kept and where it is sent"]
