"""The README and the manual match the program, and the contributing guide the packages."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from qubrid_cli import errors
from qubrid_cli.output.formatting import SCHEMA_FILE
from qubrid_cli.settings.fields import BUILT_IN_PROFILES, FIELDS, OPTIONS, PROFILE_FIELDS
from qubrid_cli.settings.presets import load_built_in_presets

from .conftest import Qvision

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / ".github/CONTRIBUTING.md").read_text()
MANUAL = {path.stem: path.read_text("utf-8") for path in sorted((ROOT / "qubrid_cli/manual").glob("*.md"))}
TEXT = "\n".join([README, *MANUAL.values()])
#: Code blocks, and inline code with one span per line.
CODE = "\n".join(block or inline for block, inline in re.findall(r"```(.*?)```|`([^`\n]+)`", TEXT, flags=re.DOTALL))
#: Options of other programs that the README shows.
FOREIGN = {"--quiet", "--editable", "--install", "--array", "--nthreads", "--nworkers"}


def section(title: str) -> str:
    """Return the text between a heading of the manual and the next one."""
    return re.split(r"^#+ ", TEXT.split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def list_commands(help_text: str) -> list[str]:
    """The commands that a help page lists."""
    return re.findall(r"^  (\w+)", help_text.partition("Commands:")[2].partition("Topics")[0], flags=re.MULTILINE)


def in_help(qvision: Qvision, *command: str) -> tuple[set[str], list[str]]:
    """Return the options and the commands that a help page lists."""
    text = qvision(*command, "--help").stdout.decode()
    firsts = "\n".join(
        re.findall(r"^  (-.*?)(?:  |$)", text.partition("Commands:")[0], flags=re.MULTILINE)
    )  # the first column of the options
    names = set(re.findall(r"(?<![\w-])--?[a-zA-Z][a-z-]*", firsts))
    return names - {"-h", "--help"}, list_commands(text)


def list_all_options(qvision: Qvision) -> set[str]:
    """The options of the program, its commands and its subcommands."""
    all_options: set[str] = set()
    queue: list[tuple[str, ...]] = [()]
    while queue:
        command = queue.pop()
        options, commands = in_help(qvision, *command)
        all_options |= options
        queue += [(*command, name) for name in commands if name != "version"]
    return all_options


def in_tables(page: str) -> set[str]:
    """The options in the first columns of the tables of a page."""
    cells = re.findall(r"^\| (`.*?`) \|", MANUAL[page], flags=re.MULTILINE)
    return {option for cell in cells for option in re.findall(r"(?<=`)--?[a-zA-Z][a-z-]*", cell)}


def test_the_tables_of_options_are_complete(qvision: Qvision) -> None:
    """Options that ``batch`` shares with ``describe`` are only in the tables of ``describe``."""
    describe, batch = (in_help(qvision, command)[0] - {"-0"} for command in ("describe", "batch"))
    assert in_tables("describe") | {"--frame"} == describe
    own = in_tables("batch") | in_tables("sidecars") | in_tables("parts")
    assert own <= batch
    assert batch <= own | describe


def test_the_options_of_the_manual_are_those_of_the_program(qvision: Qvision) -> None:
    options = list_all_options(qvision)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", TEXT))
    assert named - FOREIGN <= options | {"--help"}
    pages = "\n".join(MANUAL.values())
    assert {name for name in options if not re.search(rf"(?<![\w-]){name}(?![\w-])", pages)} <= {"--version", "-V"}


def test_the_sizes_of_the_pages() -> None:
    assert len(README.encode()) <= 10_240
    assert {topic: len(page.encode()) for topic, page in MANUAL.items() if len(page.encode()) > 8192} == {}


def test_each_page_says_first_what_it_is_about_and_the_readme_links_to_it() -> None:
    assert {topic for topic, page in MANUAL.items() if not re.match(f"# {topic}: [^\n.]{{10,60}}\n\n", page)} == set()
    assert set(re.findall(r"\]\(qubrid_cli/manual/([\w-]+)\.md\) \|", README)) == set(MANUAL)


def test_the_presets_are_those_of_the_program() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", MANUAL["presets"].partition("## ")[0], flags=re.MULTILINE)
    assert listed == list(load_built_in_presets())


def test_the_environment_variables_are_those_of_the_program() -> None:
    """In their own table, or in the row of the option."""
    listed = re.findall(r"environment variable `([A-Z_]+)`", MANUAL["describe"])
    listed += re.findall(r"`([A-Z_]+)`(?=[^|]*\|[^|]*\|$)", section("Environment"), flags=re.MULTILINE)
    assert {name for field in FIELDS.values() for name in field.variables} <= set(listed)


def test_the_error_codes_are_those_of_the_program() -> None:
    """Except for ``length``, which servers send."""
    codes = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?`) \|", section("Error codes"), flags=re.MULTILINE)))
    source = "\n".join(path.read_text("utf-8") for path in (ROOT / "qubrid_cli").rglob("*.py"))
    assert {code for code in codes if f'"{code}"' not in source} <= {"length"}


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


def test_every_file_in_the_contributing_guide_exists() -> None:
    files = set(re.findall(r"`([\w./-]+\.(?:py|toml|json|md))`", CONTRIBUTING)) - {"config.toml", "commands/NAME.py"}
    missing = {file for file in files if not any((ROOT / folder / file).exists() for folder in (".", "qubrid_cli"))}
    assert missing == set()


def test_the_contributing_guide_lists_every_package_and_its_public_modules() -> None:
    """Public modules are those that no contract of import-linter protects."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    private = {module for contract in contracts for module in contract.get("protected_modules", ())}
    package = ROOT / "qubrid_cli"
    rows = re.findall(r"^\| `(\w+)/` \| [^|]* \| ([^|]*) \|", CONTRIBUTING, flags=re.MULTILINE)
    assert {name for name, _ in rows} == {path.parent.name for path in package.glob("*/__init__.py")}
    for name, public in rows:
        modules = {path.stem for path in (package / name).glob("*.py")} - {"__init__"}
        exceptions = re.findall(r"`(\w+)`", public)
        listed = modules - set(exceptions) if public.startswith("all") else set(exceptions)
        protected = f"qubrid_cli.{name}" in private
        assert listed == {
            module for module in modules if not protected and f"qubrid_cli.{name}.{module}" not in private
        }


@pytest.mark.parametrize("path", [ROOT / "README.md", *(ROOT / "qubrid_cli/manual").glob("*.md")], ids=lambda p: p.stem)
def test_every_linked_file_and_heading_exists(path: Path) -> None:
    for link in re.findall(r"\]\((?!http)([^)]+)\)", path.read_text("utf-8")):
        name, _, heading = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        headings = re.findall("^#+ (.*)", target.read_text("utf-8"), re.MULTILINE) if heading else []
        assert not heading or heading in {re.sub(r"[^\w -]", "", title).replace(" ", "-").lower() for title in headings}


def test_the_commands_are_those_of_the_program(qvision: Qvision) -> None:
    listed = list_commands(qvision("--help").stdout.decode())
    named = re.findall(r"(?:^|[|(;] ?|\$ |do |'|bin/)qvision ([a-z]+)\b", CODE, flags=re.MULTILINE)
    assert set(named) == set(listed)
    assert set(re.findall(r"^\| `qvision (\w+)` \|", README, flags=re.MULTILINE)) == set(listed)


def test_the_settings_without_an_option_are_those_of_the_program() -> None:
    table = [line for line in section("Settings").splitlines() if line.startswith("| `")]
    assert {
        name for line in table for name in re.findall(r"`(\w+)`", line.split("|")[1])
    } == PROFILE_FIELDS.keys() - OPTIONS.keys()
    not_global = [[name] for name, field in PROFILE_FIELDS.items() if not field.is_global]
    assert [re.findall(r"`(\w+)`", line.split("|")[1]) for line in table[-len(not_global) :]] == not_global


def test_the_profiles_are_those_of_the_program() -> None:
    rows = [line.split("|")[1:-1] for line in section("Profiles").splitlines() if line.startswith("| `")]
    assert [[cell.strip(" `") for cell in row] for row in rows] == [
        [name, profile["base_url"], profile["model"], profile.get("key_env", "none")]
        for name, profile in BUILT_IN_PROFILES.items()
    ]


def test_the_output_of_config_show_in_the_manual_is_what_it_prints(qvision: Qvision) -> None:
    shown = TEXT.partition("qvision config show | head -n 3\n")[2].partition("```")[0]
    run = qvision("config", "show", env={"QVISION_MODEL": "Qwen/Qwen3-VL-Flash"})
    assert run.stdout.decode().startswith(shown)


def shown_after(command: str) -> list[str]:
    """Return the lines that a ``console`` block shows after a command."""
    return TEXT.partition(f"$ {command}\n")[2].partition("```")[0].splitlines()


def test_the_offline_answer_in_the_manual_is_what_it_prints(qvision: Qvision) -> None:
    """Words only: on the README's terminal, Markdown is rendered and a line of statistics follows, which varies."""
    command = 'qvision describe tests/images/lighthouse.jpg "what is this?" --offline'
    run = qvision("describe", "tests/images/lighthouse.jpg", "what is this?", "--offline", cwd=ROOT)
    *answer, statistics, mode = shown_after(command)
    assert " ".join(answer).replace("•", "-").split() == re.sub(r"\*\*|`", "", run.stdout.decode()).split()
    assert statistics.startswith("ttft ")
    assert mode == "offline"


def test_the_checks_of_doctor_in_the_manual_are_what_it_prints(qvision: Qvision) -> None:
    """Except for the lines that depend on the machine: the path of the settings, and its optional libraries."""
    machine = ("config", "formats", "hint:", "keyring", "versions")

    def stable(lines: list[str]) -> list[str]:
        return [
            re.sub(r"\d+\.\d+ s", "N s", line)
            for line in lines
            if line.split()[0 if line[0] == " " else 1] not in machine
        ]

    printed = qvision("doctor", "--offline").stdout.decode().splitlines()
    assert stable(shown_after("qvision doctor --offline | grep -v versions")) == stable(printed)
