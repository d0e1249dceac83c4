"""The README says nothing that is not so: options, exit codes, JSON keys, commands, files."""

import json
import re
from pathlib import Path

import pytest

from qubrid_cli import errors
from qubrid_cli.records import SCHEMA_FILE

from .conftest import Qvision

README = (Path(__file__).parent.parent / "README.md").read_text()
#: Options of other programs that the README shows.
FOREIGN = {"--quiet", "--editable"}


def section(title: str) -> str:
    """The text below a heading, up to the next one."""
    return re.split(r"^#+ ", README.split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


COMMANDS = ("describe", "batch")


@pytest.fixture
def options(qvision: Qvision) -> dict[str, set[str]]:
    found = {}
    for command in COMMANDS:
        listed = qvision(command, "--help").stdout.decode().partition("Options:")[2]
        found[command] = set(re.findall(r"(?<![\w-])--?[a-zA-Z][a-z-]*", listed)) - {"-h", "--help"}
    return found


def test_every_option_in_the_readme_exists(options: dict[str, set[str]]) -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README))
    assert named - FOREIGN <= set().union(*options.values())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_in_a_table_of_options(options: dict[str, set[str]], command: str) -> None:
    """What ``batch`` shares with ``describe`` stands in its table only."""
    listed = set(
        re.findall(r"(?<=`)--?[a-zA-Z][a-z-]*", section("Options of `describe`") + section(f"Options of `{command}`"))
    )
    assert listed >= {option for option in options[command] if option.startswith("--")}


def test_the_exit_codes_are_those_of_the_errors() -> None:
    def below(cls: type[errors.QvisionError]) -> set[int]:
        return {cls.exit_code}.union(*(below(sub) for sub in cls.__subclasses__()))

    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", section("Exit codes"), flags=re.MULTILINE)}
    assert listed == {0, *below(errors.QvisionError)}


def test_the_json_keys_are_those_of_the_schema() -> None:
    def keys(schema: dict[str, object]) -> set[str]:
        properties = schema.get("properties") or {}
        below = [schema["items"]] if "items" in schema else []
        assert isinstance(properties, dict)
        return set(properties).union(*(keys(sub) for sub in [*properties.values(), *below]))

    table = "\n".join(line for line in section("The JSON object").splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`(\w+)`", table)) == keys(json.loads(SCHEMA_FILE.read_text()))


def test_every_file_that_is_linked_is_there() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (Path(__file__).parent.parent / link).exists()] == []


def test_the_commands_are_those_of_the_program(qvision: Qvision) -> None:
    listed = re.findall(r"^  (\w+)", qvision("--help").stdout.decode().partition("Commands:")[2], flags=re.MULTILINE)
    named = re.findall(r"(?:^|[|`(;] ?|\$ |do |'|bin/)qvision ([a-z]+)\b", README, flags=re.MULTILINE)
    assert set(named) == set(listed)
