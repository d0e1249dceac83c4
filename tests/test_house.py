"""The rules of the house that import-linter, ruff and mypy do not check: sizes, names, wording, and what each command loads."""

import ast
import io
import os
import re
import shutil
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

import qubrid_cli
from qubrid_cli import cli

from .conftest import at_home, command, environment
from .support.server import JSON, Reply, Server

PACKAGE = Path(qubrid_cli.__file__).parent
ROOT = PACKAGE.parent
MODULES = {str(path.relative_to(PACKAGE)): path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def parsed(module: str) -> ast.Module:
    return ast.parse(MODULES[module])


#: Libraries that only some command lines need.
HEAVY = {
    *("httpx", "PIL", "rich", "pi_heif", "markdown_it", "pathspec"),
    *("tomlkit", "keyring", "jsonschema", "typer", "prompt_toolkit"),
}
#: Libraries that no run loads before the first byte of an answer. They write settings, open the keyring, validate an
#: answer against a schema, draw Markdown, or are the command line of httpx.
RARE = {
    *("tomlkit", "keyring", "jsonschema", "jinja2", "nh3", "pydantic", "importlib.metadata", "pathspec"),
    *("rich.markdown", "markdown_it", "click", "httpx._main", "obstore", "qubrid_cli.storage"),
}


# Sizes and names


def test_a_module_is_small_enough_to_be_read_at_once() -> None:
    sizes = {module: len(text.splitlines()) for module, text in MODULES.items()}
    assert {module: size for module, size in sizes.items() if size > 400} == {}


def test_a_function_fits_on_a_screen() -> None:
    """The lines of its body; a command's list of options comes on top."""
    sizes = {
        (module, node.name): (node.end_lineno or 0) - node.body[0].lineno + 1
        for module in MODULES
        for node in ast.walk(parsed(module))
        if isinstance(node, ast.FunctionDef)
    }
    assert {name: size for name, size in sizes.items() if size > 60} == {}


def test_a_folder_holds_no_more_modules_than_a_newcomer_can_take_in() -> None:
    paths = [path for path in map(Path, MODULES) if path.name != "__init__.py"]  # those hold a docstring
    folders = Counter(path.parent for path in paths)
    assert {folder: count for folder, count in folders.items() if count > 18} == {}
    assert len(paths) <= 250


#: Names that several modules or packages have, each for the same kind of thing, such as a command and its package.
SHARED_NAMES = {
    *("batch", "bench", "chat", "describe", "join", "models", "parts", "presets", "report"),
    *(
        "choice",
        "connection",
        "dry_run",
        "encode",
        "errors",
        "export",
        "forecast",
        "html_page",
        "inputs",
        "opening",
        "pages",
    ),
    *("parquet", "requests", "results", "run", "session", "setup", "tiles"),
}


def test_a_module_name_stands_for_one_kind_of_thing() -> None:
    paths = [Path(module) for module in MODULES]
    names = Counter(path.parent.name if path.name == "__init__.py" else path.stem for path in paths)
    assert {name for name, count in names.items() if count > 1} == SHARED_NAMES


def test_a_class_name_stands_for_one_thing() -> None:
    names = Counter(node.name for module in MODULES for node in parsed(module).body if isinstance(node, ast.ClassDef))
    assert [name for name, count in names.items() if count > 1] == []


# Wording

#: Phrases that make a reader stop, each with what to write instead.
AWKWARD = {
    r"(?<!there )\b(is|are) no (?!longer\b|more than\b|larger than\b|smaller than\b)[a-z]": "is not a …, or: invalid …",
    r"\bis told of\b": "is reported",
    r"\bparted by\b": "separated by",
    r"\bcosts its image\b": "affects only that image",
    r"\bso long without\b": "after this many seconds without data",
    r"\bgoes behind\b": "is appended to",
    r"\bto count with\b": "a finite number",
    r"\bwants to be heard\b": "wakes",
    r"\bwhoever\b": "the caller, the reader, a user",
    r"\bnobody\b": "no one; or name what is missing",
    r"\bsomebody\b": "someone; or name who",
    r"\bbegins? nothing\b": "stop, end",
    r"\bis the old one or the new one\b": "is replaced atomically",
    r"\bwhat counts is\b": "name the rule",
    r"\bsays what no\w* understands\b": "contains an unknown key",
    r"\bnot a word\b": "prints nothing",
    r"\bwhere (there is|there are) none\b": "if there is none",
    r"\bas it (is|was) (told|said|given)\b": "name the thing",
    r"\bwhat (is|was) (told|said|asked|found)\b": "name the thing",
    r"\bis answered to\b": "receives an answer",
    r"\bfor it (is|has|needs|takes)\b": "because it …",
    r"\bblanks\b": "spaces, whitespace",
    r"\b(has|have) come\b": "has arrived",
    r"\blikeliest\b": "most likely",
    r"\bnevertheless\b": "anyway, still",
    r"\bmay pass\b": "name what to try",
    r"\bquestions? of yes or no\b": "yes-or-no question",
    r"\bof which (it|something) is\b": "that match …",
    r"\bone (question |request )?after the other\b": "one after another",
    r"\bcolour|\bgrey\b|\bper cent\b": "color, gray, percent",
}


def prose_of(text: str) -> Iterator[str]:
    """The comments and strings of a module, which hold its docstrings, help texts and messages."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in {tokenize.COMMENT, tokenize.STRING}:
            yield " ".join(token.string.split())


#: All of them, to look for each only in a text that has one.
ANY_AWKWARD = re.compile("|".join(AWKWARD), re.IGNORECASE)


def awkward(prose: str) -> list[str]:
    return [
        f"{prose[max(0, match.start() - 30) : match.end() + 30]!r}: write {better}"
        for pattern, better in (AWKWARD.items() if ANY_AWKWARD.search(prose) else ())
        for match in re.finditer(pattern, prose, re.IGNORECASE)
    ]


def test_the_package_is_written_in_plain_english() -> None:
    texts = {module: awkward("\n".join(prose_of(text))) for module, text in MODULES.items()}
    assert {module: problems for module, problems in texts.items() if problems} == {}


@pytest.mark.parametrize(
    "name",
    [
        *("README.md", "CHANGELOG.md", ".github/CONTRIBUTING.md"),
        *(str(path.relative_to(ROOT)) for path in sorted(PACKAGE.glob("manual/*.md"))),
    ],
)
def test_the_documents_are_written_in_plain_english(name: str) -> None:
    assert awkward(" ".join((ROOT / name).read_text("utf-8").split())) == []


# What a command line loads


def loaded_by(*arguments: str, env: Mapping[str, str] | None = None) -> set[str]:
    """The modules that a run of the program has loaded when it ends."""
    lists = (
        "import atexit, sys, os; out = os.dup(1); os.dup2(2, 1); "
        "atexit.register(lambda: os.write(out, '\\n'.join(n for n, m in sys.modules.items() if m).encode())); "
        "from qubrid_cli.__main__ import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", lists, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=env or environment(),
        check=False,
        timeout=60,
    )
    return set(done.stdout.decode().splitlines())


@cache
def loaded_without_settings(*arguments: object) -> set[str]:
    """Kept, because several tests look at the modules of the same command line."""
    return loaded_by(*map(str, arguments))


def libraries(loaded: set[str]) -> set[str]:
    """The heavy ones among what is loaded, and the rare ones."""
    return loaded & (HEAVY | RARE)


def test_version_loads_nothing_but_the_standard_library() -> None:
    loaded = loaded_by("--version")
    assert libraries(loaded) == set()
    assert {name for name in loaded if name.startswith("qubrid_cli")} == {"qubrid_cli", "qubrid_cli.__main__"}


#: What each command line may load of the libraries, at most and at least.
LOADS = {
    "--help": {"typer"},
    "help images": {"typer"},
    "nonsense": {"typer"},
    "describe --help": {"typer"},
    "describe --no-such-option": {"typer"},
    "describe LIGHTHOUSE --no-such-option": {"typer"},
    "describe LIGHTHOUSE one two": {"typer"},
    "batch --help": {"typer"},
    "config --help": {"typer"},
    "presets --help": {"typer"},
    "describe": {"typer"},
    "describe nope.jpg": {"typer"},
    "config get model": {"typer"},
    "config show": {"typer"},
    "report --help": {"typer"},
    "presets list": {"typer"},
    "presets show json": {"typer"},
    "describe LIGHTHOUSE --offline": {"typer", "httpx", "PIL"},
    "describe LIGHTHOUSE --offline --json": {"typer", "httpx", "PIL"},
    "describe LIGHTHOUSE --dry-run": {"typer", "PIL"},
    "chat --help": {"typer"},
    "chat LIGHTHOUSE hello --offline": {"typer", "httpx", "PIL"},
}


@pytest.mark.parametrize("line", LOADS)
def test_a_command_line_loads_what_it_uses_and_no_more(line: str, lighthouse: Path) -> None:
    assert libraries(loaded_without_settings(*line.replace("LIGHTHOUSE", str(lighthouse)).split())) == LOADS[line]


@pytest.mark.parametrize(
    "line", ["describe LIGHTHOUSE --offline", "describe LIGHTHOUSE --dry-run", "batch LIGHTHOUSE x --dry-run"]
)
def test_garbage_is_collected_rarely_but_not_never(line: str, lighthouse: Path) -> None:
    lists = (
        "import atexit, gc, os; out = os.dup(1); os.dup2(2, 1); "
        "atexit.register(lambda: os.write(out, f'{gc.isenabled()} {gc.get_threshold()[0]}'.encode())); "
        "from qubrid_cli.__main__ import main; import sys; sys.exit(main())"
    )
    arguments = line.replace("LIGHTHOUSE", str(lighthouse)).split()
    done = subprocess.run(
        [sys.executable, "-c", lists, *arguments], capture_output=True, env=environment(), check=True, timeout=60
    )
    assert done.stdout == b"True 50000"


def test_help_and_mistyped_commands_load_no_command() -> None:
    assert {name for line in ("--help", "nonsense", "") for name in loaded_without_settings(*line.split())}.isdisjoint(
        {f"qubrid_cli.commands.{name}" for name in cli._COMMANDS}
    )


@pytest.mark.parametrize(
    "line",
    ["describe --profile ol", "describe -m ", "config set m", "describe sun", "completion z", "describe --", "descr"],
)
@pytest.mark.parametrize("variable", ["_TYPER_COMPLETE_ARGS", "COMP_WORDS"])
def test_completion_loads_neither_network_nor_pictures_nor_screen(line: str, variable: str) -> None:
    shell = {"_TYPER_COMPLETE_ARGS": "complete_zsh", "COMP_WORDS": "complete_bash"}[variable]
    words = f"qvision {line}"
    asking = {"_QVISION_COMPLETE": shell, variable: words, "COMP_CWORD": str(words.count(" "))}
    loaded = loaded_by(env=environment(asking))
    assert "typer._completion_classes" in loaded
    assert libraries(loaded) <= {"typer"}
    assert "socket" not in loaded
    named = {name for name in cli._COMMANDS if f"qubrid_cli.commands.{name}" in loaded}
    assert named == {name for name in cli._COMMANDS if name in line.split()}


def test_a_description_into_a_pipe_loads_no_screen(lighthouse: Path) -> None:
    loaded = loaded_without_settings("describe", lighthouse, "--offline")
    assert loaded.isdisjoint(
        {
            *(
                "qubrid_cli.output.terminal",
                "qubrid_cli.output.markdown",
                "qubrid_cli.output.formatting",
                "qubrid_cli.describe.record",
            ),
            *("qubrid_cli.describe.dry_run", "qubrid_cli.describe.structured"),
            *("qubrid_cli.describe.judge", "qubrid_cli.describe.verdicts", "qubrid_cli.client.probabilities"),
        }
    )


def test_a_description_that_succeeds_loads_nothing_that_explains_failures(lighthouse: Path) -> None:
    loaded = loaded_without_settings("describe", lighthouse, "--offline")
    assert "qubrid_cli.client.endpoint" in loaded
    modules = {f"client.errors.{name}" for name in ("rules", "body", "matching", "meanings", "token_counts", "waits")}
    modules |= {"describe.fallbacks", "http_errors"}
    assert loaded.isdisjoint({f"qubrid_cli.{name}" for name in modules})


def test_the_command_line_of_httpx_is_not_loaded_where_click_is_installed(tmp_path: Path, lighthouse: Path) -> None:
    (tmp_path / "click.py").write_text("")
    env = environment()
    env["PYTHONPATH"] += os.pathsep + str(tmp_path)
    loaded = loaded_by("describe", str(lighthouse), "--offline", env=env)
    assert "httpx" in loaded
    assert loaded.isdisjoint({"click", "httpx._main", "rich"})


def test_a_description_with_settings_and_a_stored_key_loads_no_more(tmp_path: Path, lighthouse: Path) -> None:
    env = environment(at_home(tmp_path))
    for arguments in (["config", "set", "retries", "0"], ["auth", "login", "--stdin", "--profile", "ollama"]):
        subprocess.run(command(*arguments), input=b"qk-1", env=env, capture_output=True, check=True, timeout=60)
    asking = ["describe", str(lighthouse), "--profile", "ollama", "--max-time", "0.001"]
    loaded = loaded_by(*asking, env=env)
    assert "tomllib" in loaded
    assert libraries(loaded) == {"typer", "httpx", "PIL"}


def test_an_offline_description_reads_no_presets_no_keys_and_no_toml(lighthouse: Path) -> None:
    loaded = loaded_without_settings("describe", lighthouse, "--offline")
    assert loaded.isdisjoint({"qubrid_cli.settings.presets", "qubrid_cli.settings.keys", "tomllib"})


def test_the_key_is_looked_for_without_the_network_or_pictures(tmp_path: Path) -> None:
    env = environment(at_home(tmp_path))
    assert libraries(loaded_by("auth", "status", env=env)) <= {"typer", "keyring", "importlib.metadata"}


def test_the_models_of_an_endpoint_are_listed_without_pictures(server: Server) -> None:
    server.answer = Reply([b'{"data": [{"id": "m"}]}'], headers=JSON)
    env = environment({"QUBRID_BASE_URL": server.url, "QUBRID_API_KEY": "qk-1"})
    loaded = loaded_by("models", env=env)
    assert len(server.asked) == 1
    assert libraries(loaded) == {"typer", "httpx"}


def test_a_run_of_many_is_rehearsed_with_nothing_rare(tmp_path: Path, lighthouse: Path) -> None:
    shutil.copy(lighthouse, tmp_path)
    loaded = loaded_by("batch", str(tmp_path), "caption", "--dry-run")
    assert libraries(loaded) == {"typer", "PIL", "httpx"}


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_the_help_says_of_each_command_what_the_command_says_itself(columns: int) -> None:
    def rows(*words: str) -> list[str]:
        asked = f"import sys; from qubrid_cli import cli; cli._build_app({words})(['--help'], prog_name='qvision')"
        env = environment({"COLUMNS": str(columns), "TERMINAL_WIDTH": str(columns)})
        done = subprocess.run([sys.executable, "-c", asked], capture_output=True, env=env, check=True, timeout=60)
        return sorted(done.stdout.decode().splitlines())

    assert rows() == rows(*cli._COMMANDS)


def test_the_module_runs_as_the_program_does() -> None:
    done = subprocess.run(command("--version"), capture_output=True, env=environment(), check=True, timeout=60)
    assert done.stdout.decode() == f"qvision {qubrid_cli.__version__}\n"
