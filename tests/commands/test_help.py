"""The help of the commands, and errors of the command line in the same style as all others."""

import itertools
import re
import shlex
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from qubrid_cli import cli
from qubrid_cli.commands.shared import manual
from qubrid_cli.commands.shared.help_layout import _HEADINGS, MAX_WIDTH, collect_sections

from ..conftest import Qvision

PROGRAM: Any = typer.main.get_command(cli._build_app([*cli._COMMANDS]))


def commands_below(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """A command and all below it, each with the words that call it."""
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands_below(command, (*path, name))


COMMANDS = {" ".join(path): command for path, command in commands_below(PROGRAM) if path != ("version",)}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("columns", [80, 100, 140])
def test_help_fits_the_terminal_and_ends_with_examples(
    command: str, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert cli.main([*command.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= min(columns, MAX_WIDTH)
    assert text.count("\nExamples:\n  ") == 1
    assert not re.search(r"x>=|<=x|\.\.\.$|<\w+\||[{]\w+[}] |\[required", text.partition("\n\n")[2], re.MULTILINE)


@pytest.mark.parametrize("command", ["describe", "batch"])
def test_the_help_of_many_options_has_headings_for_all_of_them(command: str) -> None:
    sections = collect_sections(COMMANDS[command], COMMANDS[command].make_context(command, ["a.jpg"]))
    assert {"Prompt", "Images", "Model", "Output", "Connection"} <= set(sections)
    assert [name for name, _ in sections["Other"]] == ["--help"]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_of_the_help_are_command_lines_of_the_program(command: str) -> None:
    examples = COMMANDS[command].epilog.partition("\n\n")[0].splitlines()
    lines = [words for example in examples for words in split_commands(example) if words[:1] == ["qvision"]]
    assert lines
    for _, *words in lines:
        path = max((path for path in COMMANDS if path.split() == words[: len(path.split())]), key=len)
        COMMANDS[path].make_context(path, words[len(path.split()) :])  # raises for an unknown option


def split_commands(line: str) -> Iterator[list[str]]:
    """The words of each command of a pipe."""
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    for is_operator, group in itertools.groupby(words, lambda word: set(word) <= set("|<>")):
        if not is_operator:
            yield [*group]


def test_completion_shows_whole_summaries() -> None:
    items = PROGRAM.shell_complete(PROGRAM.make_context("qvision", [], resilient_parsing=True), "")
    assert cli._COMMANDS.items() <= {item.value: item.help for item in items}.items()


def test_no_option_stands_under_two_headings() -> None:
    names = [name for section in _HEADINGS.values() for name in section]
    assert len(names) == len(set(names))


def test_help_and_version_are_commands_too(qvision: Qvision) -> None:
    assert qvision("help", "config", "set").stdout == qvision("config", "set", "--help").stdout
    assert qvision("help").stdout == qvision("--help").stdout
    assert qvision("version").stdout == qvision("-V").stdout == qvision("--version").stdout
    assert "..." not in qvision("--help").stdout.decode().partition("Commands:")[2]


def test_the_help_of_a_command_names_a_page_of_the_manual(capsys: pytest.CaptureFixture[str]) -> None:
    for command in cli._COMMANDS.keys() - {"help"}:
        assert cli.main([command, "--help"]) == 0
        topic = capsys.readouterr().out.rpartition("More: qvision help ")[2].strip()
        assert topic in manual.load_topics()


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("help ima", ["images"]),
        ("help des", ["describe"]),
        ("help pro", ["profiles"]),
        ("help config s", ["show", "set"]),
        ("help images ", []),
    ],
)
def test_tab_completes_topics_and_commands(
    line: str, names: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"qvision {line}"
    completing = {"_QVISION_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    for name, value in completing.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "rich", sys.modules.get("rich"))
    with pytest.raises(SystemExit):
        cli.main([])
    assert capsys.readouterr().out.split() == names


@pytest.mark.parametrize("topic", manual.load_topics())
def test_help_shows_the_page_of_a_topic_as_it_is_written_in_a_pipe(
    topic: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert cli.main(["help", topic]) == 0
    assert capfdbinary.readouterr().out == (manual.FOLDER / f"{topic}.md").read_bytes()
