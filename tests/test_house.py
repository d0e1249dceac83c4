"""The rules of the house: who may import whom, what a command may load, how large a room may be."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import qubrid_cli

from .conftest import at_home, command, environment

PACKAGE = Path(qubrid_cli.__file__).parent
FLOORS = (
    {
        "errors",
        "sse",
        "deltas",
        "metadata",
        "specimen",
        "tokens",
        "progress",
        "profiles",
        "masking",
        "replacement",
        "metrics",
        "foreign",
        "heif",
        "urls",
        "lists",
        "locking",
        "packet",
        "counting",
        "rules",
    },
    {
        "chat",
        "events",
        "sources",
        "fields",
        "costs",
        "keyfile",
        "keychain",
        "prompts",
        "presets",
        "shorthand",
        "extraction",
        "paths",
        "offline",
        "refusals",
        "endings",
        "decoder",
        "colours",
        "output",
        "catalogue",
        "checks",
        "retries",
        "ignoring",
        "shards",
        "pace",
        "xmp",
    },
    {
        "equipment",
        "response",
        "reading",
        "replies",
        "configuration",
        "payload",
        "inventory",
        "links",
        "mishaps",
        "schema",
        "placeholders",
        "folders",
        "faults",
        "budget",
        "client",
        "sending",
    },
    {"reachability", "endpoint", "images", "settings", "rewriting", "download", "finding"},
    {"credentials", "listing"},
    {"draft"},
    {"description"},
    {"structured", "checkup"},
    {"records"},
    {"terminal", "markdown", "rehearsal", "entries"},
    {"compaction", "opening", "sidecars", "work"},
    {"journal", "crew", "outcomes", "turns", "twins"},
    {"outbox", "failures", "forecast", "tally", "division"},
    {"batch", "progressbar"},
    {"commands.questions", "commands.completing"},
    {"commands.options", "commands.given", "commands.showing"},
    {"commands.asking", "commands.batch_options"},
    {"commands.plan", "commands.watching"},
    {"commands.running"},
    {
        *("commands.describe", "commands.config", "commands.auth", "commands.presets", "commands.completion"),
        *("commands.batch", "commands.models", "commands.doctor"),
    },
    {"cli"},
    {"__main__"},
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
HOMES = {
    "httpx": {"endpoint", "client", "sending", "response", "download", "mishaps", "offline", "reachability"},
    "PIL": {"images", "payload", "inventory", "decoder", "colours", "offline"},
    "pi_heif": {"heif"},
    "rich": {"terminal", "markdown", "progressbar"},
    "markdown_it": {"markdown"},
    "stamina": {"retries"},
    "pathspec": {"ignoring"},
    "jsonschema": {"schema"},
    "platformdirs": {"configuration"},
    "tomlkit": {"rewriting"},
    "keyring": {"keychain"},
    "typer": {
        "cli",
        *("commands.options", "commands.batch_options", "commands.asking", "commands.completing"),
        *("commands.batch", "commands.models", "commands.doctor"),
        *("commands.describe", "commands.config", "commands.auth", "commands.presets", "commands.completion"),
    },
}
HEAVY = {
    "httpx",
    "PIL",
    "rich",
    "pi_heif",
    "markdown_it",
    "stamina",
    "pathspec",
    "platformdirs",
    "tomlkit",
    "keyring",
    "jsonschema",
    "typer",
}


def modules() -> dict[str, ast.Module]:
    paths = [path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): ast.parse(path.read_text()) for path in paths}


MODULES = modules()


def imports(name: str) -> Iterator[str]:
    """All that a module imports, in whatever way: ours by the name within the package, others by their first name."""
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]
        elif isinstance(node, ast.ImportFrom):
            here = name.split(".")[: -node.level]
            base = [*here, *(node.module or "").split(".")] if node.module else here
            for alias in node.names:
                whole = ".".join([*base, alias.name])
                yield whole if whole in MODULES else ".".join(base)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_every_module_has_its_floor_and_imports_only_from_below(module: str) -> None:
    assert {name for name in imports(module) if name in MODULES and FLOOR[name] >= FLOOR[module]} == set()


def test_the_plan_of_the_house_names_no_room_that_is_not_there() -> None:
    assert set(FLOOR) == set(MODULES)


@pytest.mark.parametrize("library", sorted(HEAVY))
def test_a_heavy_library_is_imported_in_its_home_only(library: str) -> None:
    assert {name for name in MODULES if library in set(imports(name))} == HOMES[library]


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"cli", "__main__"}))
def test_only_the_program_and_its_commands_import_inside_functions(module: str) -> None:
    inside = [
        ast.unparse(node)
        for function in ast.walk(MODULES[module])
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert inside == [] or module.startswith("commands.")


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_room_is_no_larger_than_can_be_read_at_once(module: str) -> None:
    path = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
    assert len(path.read_text().splitlines()) <= 260


def loaded_by(*arguments: str, env: Mapping[str, str] | None = None) -> set[str]:
    """The modules that a run of the program has loaded when it ends."""
    lists = (
        "import atexit, sys, os; out = os.dup(1); os.dup2(2, 1); "
        "atexit.register(lambda: os.write(out, '\\n'.join(sys.modules).encode())); "
        "from qubrid_cli.__main__ import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", lists, *arguments],
        capture_output=True,
        env=env or environment(),
        check=False,
        timeout=60,
    )
    return set(done.stdout.decode().splitlines())


def test_version_loads_nothing_but_the_standard_library() -> None:
    assert loaded_by("--version").isdisjoint(HEAVY)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["describe", "--help"],
        ["describe", "--no-such-option"],
        ["describe"],
        ["describe", "nope.jpg"],
        ["batch", "--help"],
        ["batch"],
        ["nonsense"],
        ["config", "--help"],
        ["config", "show"],
        ["config", "get", "model"],
        ["auth", "status"],
    ],
)
def test_help_and_usage_errors_load_neither_network_nor_pictures_nor_screen(arguments: list[str]) -> None:
    loaded = loaded_by(*arguments)
    assert "typer" in loaded
    assert loaded.isdisjoint({"httpx", "PIL", "rich", "rich.markdown", "pydantic", "importlib.metadata"})


@pytest.mark.parametrize(
    "line", ["describe --profile ol", "describe -m ", "config set m", "describe sun", "completion z"]
)
def test_completion_loads_neither_network_nor_pictures_nor_screen(line: str) -> None:
    asking = {"_QVISION_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": f"qvision {line}"}
    loaded = loaded_by(env=environment(asking))
    assert "qubrid_cli.commands.completing" in loaded
    assert loaded.isdisjoint({"httpx", "PIL", "rich", "stamina", "tomlkit", "keyring", "importlib.metadata", "socket"})


def test_a_description_into_a_pipe_loads_no_screen(lighthouse: Path) -> None:
    loaded = loaded_by("describe", str(lighthouse), "--offline")
    assert {"httpx", "PIL"} <= loaded
    assert loaded.isdisjoint({"qubrid_cli.terminal", "qubrid_cli.markdown", "rich.markdown", "jsonschema"})


@pytest.mark.parametrize("arguments", [["presets", "list"], ["presets", "show", "json"]])
def test_presets_are_shown_with_nothing_heavy(arguments: list[str]) -> None:
    assert loaded_by(*arguments).isdisjoint(HEAVY - {"typer", "platformdirs"})


#: What only some runs need: to write settings, to open the keyring, to check an answer against a schema.
RARE = {"tomlkit", "keyring", "jsonschema", "pydantic", "importlib.metadata"}


def test_a_description_without_settings_loads_nothing_that_only_some_need(lighthouse: Path) -> None:
    loaded = loaded_by("describe", str(lighthouse), "--offline")
    assert {"httpx", "PIL"} <= loaded
    assert loaded.isdisjoint(RARE)


def test_a_description_with_settings_and_a_stored_key_loads_no_more(tmp_path: Path, lighthouse: Path) -> None:
    env = environment(at_home(tmp_path))
    for arguments in (["config", "set", "retries", "0"], ["auth", "login", "--stdin", "--profile", "ollama"]):
        subprocess.run(command(*arguments), input=b"qk-1", env=env, capture_output=True, check=True, timeout=60)
    asking = ["describe", str(lighthouse), "--profile", "ollama", "--max-time", "0.001"]
    loaded = loaded_by(*asking, env=env)
    assert {"httpx", "PIL", "tomllib", "platformdirs"} <= loaded
    assert loaded.isdisjoint(RARE)


def test_the_module_runs_as_the_program_does() -> None:
    done = subprocess.run(command("--version"), capture_output=True, env=environment(), check=True, timeout=60)
    assert done.stdout.decode() == f"qvision {qubrid_cli.__version__}\n"
