"""Completion in those of bash, zsh and fish that this machine has (CI installs all three)."""

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pexpect
import pytest

from qubrid_cli.settings.model_cache import BUILT_IN_MODELS

from ..conftest import Qvision, at_home, environment
from ..support.completions import FILES, script
from ..support.server import JSON, Reply, Server

SETUP = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], f"source {FILES['bash']}"),
    "zsh": (["zsh", "-f", "-i"], f"autoload -Uz compinit; compinit -u -D; source {FILES['zsh']}"),
    "zsh in fpath": (
        ["zsh", "-f", "-i"],
        f"fpath=({FILES['zsh'].parent} $fpath); autoload -Uz compinit; compinit -u -D",
    ),
}
HERE = [name for name, (argv, _) in SETUP.items() if shutil.which(argv[0])]


@pytest.mark.parametrize("shell", FILES)
def test_the_scripts_in_the_repository_are_what_the_program_prints(shell: str) -> None:
    assert FILES[shell].read_text() == script(shell)


@pytest.mark.parametrize(
    ("shell", "place"),
    [
        ("bash", ".local/share/bash-completion/completions/qvision"),
        ("zsh", ".zfunc/_qvision"),
        ("fish", ".config/fish/completions/qvision.fish"),
        ("powershell", ".config/powershell/qvision.ps1"),
    ],
)
def test_the_script_is_installed_where_the_shell_looks(
    qvision: Qvision, tmp_path: Path, shell: str, place: str
) -> None:
    env = {"XDG_DATA_HOME": "", "XDG_CONFIG_HOME": "", "ZDOTDIR": "", "HOME": str(tmp_path / "user")}
    for _ in range(2):
        run = qvision("completion", shell, "--install", env=env)
        assert (run.exit_code, run.stdout.decode().splitlines()[0]) == (0, f"wrote {tmp_path / 'user' / place}")
    assert (tmp_path / "user" / place).read_bytes() == qvision("completion", shell).stdout
    (tmp_path / "file").touch()
    run = qvision("completion", shell, "--install", env={**env, "HOME": str(tmp_path / "file")})
    assert (run.exit_code, run.stdout) == (1, b"")
    assert run.stderr.startswith(f"error: cannot write {tmp_path / 'file' / place}: Not a directory\n")


def test_an_unknown_shell_is_a_usage_error_that_lists_the_shells(qvision: Qvision) -> None:
    run = qvision("completion", "tcsh")
    assert (run.exit_code, run.stdout) == (2, b"")
    assert "bash, zsh, fish, powershell" in run.stderr


@pytest.fixture
def on_path(tmp_path: Path, quick_program: list[str]) -> dict[str, str]:
    """An environment with ``qvision`` on the path; creates an image to complete."""
    program = tmp_path / "bin" / "qvision"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.join(quick_program)} "$@"\n')
    program.chmod(0o755)
    for name in ("sunset.jpg", "sun;it's.png", "sun.txt"):
        (tmp_path / name).touch()
    (tmp_path / "sun-folder").mkdir()
    env = environment({"TERM": "dumb", "PS1": "% ", "HOME": str(tmp_path)})
    return {**env, "PATH": f"{program.parent}:{env['PATH']}"}


def find_program(env: Mapping[str, str]) -> str:
    return str(shutil.which("qvision", path=env["PATH"]))


@pytest.mark.parametrize("shell", HERE)
def test_tab_completes_commands_files_options_and_values(shell: str, on_path: dict[str, str], tmp_path: Path) -> None:
    (program, *arguments), setup = SETUP[shell]
    child = pexpect.spawn(program, arguments, env=on_path, cwd=str(tmp_path), timeout=30, dimensions=(24, 200))
    child.sendline(f"{setup}; echo rea''dy")
    child.expect_exact("ready")
    for typed, added in (
        ("qvision desc", "ribe "),
        ("suns", "et.jpg "),
        ("--max-tok", "ens "),
        ("5 --color alw", "ays "),
        ("--color=nev", "er "),
        ("sun\\;", "it\\'s.png "),
        ("--profile ope", "n"),
        ("r", "outer "),
    ):
        child.send(f"{typed}\t")
        child.expect_exact(added)
    child.close(force=True)


@pytest.fixture
def listed(on_path: dict[str, str], server: Server, tmp_path: Path) -> dict[str, str]:
    """An environment with a cached list of models; two of them have the same beginning."""
    models = [{"id": name} for name in ("qwen3-vl:8b", "qwen3-vl:30b", "llava/next")]
    server.answer = Reply([json.dumps({"data": models}).encode()], headers=JSON)
    env = {**on_path, "QUBRID_BASE_URL": server.url}
    subprocess.run([find_program(env), "models"], env=env, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    return env


@pytest.mark.parametrize("shell", HERE)
def test_tab_completes_cached_models_with_colons(
    shell: str, listed: dict[str, str], server: Server, tmp_path: Path
) -> None:
    (program, *arguments), setup = SETUP[shell]
    child = pexpect.spawn(program, arguments, env=listed, cwd=str(tmp_path), timeout=30, dimensions=(24, 200))
    child.sendline(f"{setup}; echo rea''dy")
    child.expect_exact("ready")
    for typed, added in (
        ("qvision describe -m ll", "ava/next "),
        ("-m qwen3-vl:3", "0b "),
        ("-m qw", "en3-vl"),
        ("\x15qvision describe -o suns", "et.jpg "),
    ):
        child.send(f"{typed}\t")
        child.expect_exact(added)
    child.close(force=True)
    assert [request.path for request in server.asked] == ["/v1/models"]


if shutil.which("bash"):

    @pytest.mark.parametrize(
        ("words", "offered"),
        [
            (["qvision", "describe", "--model", "=", "ll"], ["llava/next"]),
            (["qvision", "describe", "--model", "=", "qwen3-vl", ":", "8"], ["8b"]),
            (["qvision", "describe", "-m", "qwen3-vl", ":"], ["8b", "30b"]),
            (["qvision", "describe", "-O", "seed", "=", "1", "--profile", "oll"], ["ollama"]),
            (["qvision", "--color", "=", "al"], ["always"]),
            (["qvision", "models", "--color", "=", ""], ["auto", "always", "never"]),
            (["qvision", "describe", "su"], ["sun;it's.png", "sunset.jpg", "sun-folder"]),
            (["qvision", "batch", '"sun;i'], ["sun;it's.png"]),
            (["qvision", "describe", "-o", "su"], []),  # all files: the default of the shell
            (["qvision", "describe", "--max-tokens", ""], []),
        ],
    )
    def test_bash_completes_words_with_colons_and_equal_signs(
        words: list[str], offered: list[str], listed: dict[str, str], tmp_path: Path
    ) -> None:
        """Bash treats ``:`` and ``=`` as separate words and replaces only the text after them."""
        ask = (
            f"source {FILES['bash']}; COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; "
            '_qvision_completion qvision; for one in "${COMPREPLY[@]}"; do echo "$one"; done'
        )
        done = subprocess.run(
            ["bash", "--norc", "-c", ask], capture_output=True, env=listed, cwd=tmp_path, check=True, timeout=60
        )
        assert sorted(done.stdout.decode().split()) == sorted(offered)


Complete = Callable[[str, Mapping[str, str]], list[str]]


@pytest.fixture
def complete(quick_program: list[str]) -> Complete:
    """Returns the completions of a line in the format for fish; stderr must stay empty."""

    def run(line: str, env: Mapping[str, str]) -> list[str]:
        variables = {"_QVISION_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
        asked = {**env, **variables, "_TYPER_COMPLETE_ARGS": line}
        done = subprocess.run(quick_program, env=asked, capture_output=True, check=False, timeout=60)
        assert done.stderr == b""
        return done.stdout.decode().split()

    return run


OURS = """
profile = "work"
[profiles.work]
base_url = "https://llm.example.com/v1"
model = "example/model"
[presets.receipt]
prompt = "The total?"
"""


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("qvision describe --profile w", ["work"]),
        ("qvision --profile open", ["openrouter", "openai"]),
        ("qvision auth login --profile lm", ["lmstudio"]),
        ("qvision describe -m ", ["example/model"]),
        ("qvision describe --profile ollama --model ", ["qwen3-vl:8b"]),
        ("qvision --profile qubrid describe -m ", [*BUILT_IN_MODELS]),
        ("qvision doctor --profile nonsense -m ", []),
        ("qvision config set mo", ["model"]),
        ("qvision config get pr", ["profile", "prompt", "preset"]),
        ("qvision config unset profiles.work.m", [f"profiles.work.{name}" for name in ("model", "max_tokens", "max_time", "max_pixels", "max_side")]),
        ("qvision config set presets.receipt.s", ["presets.receipt.system", "presets.receipt.schema"]),
        ("qvision completion ", ["bash", "zsh", "fish", "powershell"]),
    ],
)  # fmt: skip
def test_names_from_the_settings_are_offered(complete: Complete, line: str, offered: list[str], tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(OURS)
    env = environment({**at_home(tmp_path), "QVISION_CONFIG": str(tmp_path / "config.toml")})
    assert complete(line, env) == offered


def test_a_broken_configuration_still_offers_built_in_names(complete: Complete, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[profiles\n")
    env = environment({**at_home(tmp_path), "QVISION_CONFIG": str(tmp_path / "config.toml")})
    assert complete("qvision describe --profile o", env) == ["ollama", "openrouter", "openai"]
    assert complete("qvision describe -m Qwen/Qwen3-VL-P", env) == ["Qwen/Qwen3-VL-Plus"]


def test_names_with_shell_metacharacters_are_not_offered(
    complete: Complete, qvision: Qvision, server: Server, tmp_path: Path
) -> None:
    hostile = [
        "a b",
        "a$(touch x)",
        "a\\$(touch x)",
        "a`x`",
        "a;x",
        "-a",
        "a*",
        "a'",
        'a"',
        "a\nb",
        "a\x1b[2J",
        "ä",
        "~a",
    ]
    models = [{"id": name} for name in [*hostile, "a/fine:1.0_x-y"]]
    server.answer = Reply([json.dumps({"data": models}).encode()], headers=JSON)
    assert qvision("models", "--base-url", server.url).exit_code == 0
    env = environment({**at_home(tmp_path / "home"), "QUBRID_BASE_URL": server.url})
    assert complete("qvision describe -m ", env) == ["Qwen/Qwen3-VL-Plus", "a/fine:1.0_x-y"]


def test_a_damaged_cache_offers_nothing(complete: Complete, qvision: Qvision, server: Server, tmp_path: Path) -> None:
    server.answer = Reply([b'{"data": [{"id": "one"}]}'], headers=JSON)
    qvision("models", "--base-url", server.url)
    (cache,) = (tmp_path / "home").rglob("models-*.json")
    if os.name == "posix":
        assert cache.stat().st_mode & 0o777 == 0o600
    env = environment({**at_home(tmp_path / "home"), "QUBRID_BASE_URL": server.url})
    assert complete("qvision describe -m o", env) == ["one"]
    valid = cache.read_text()
    for damaged in (
        "",
        "[" * 100_000,
        "null",
        '{"models": 1}',
        valid.replace('"one"', "1"),
        valid.replace("/v1", "/v2"),
    ):
        cache.write_text(damaged)
        assert complete("qvision describe -m o", env) == []


if shutil.which("fish"):

    @pytest.mark.parametrize(
        ("line", "offered"),
        [
            ("qvision de", {"describe"}),
            ("qvision describe --max-t", {"--max-tokens", "--max-time"}),
            ("qvision describe sun", {"sunset.jpg", "sun;it's.png", "sun-folder/"}),
            ("qvision describe jpg", {"sunset.jpg"}),  # and not its suffix alone
            ("qvision describe --output=sun.", {"--output=sun.txt"}),
            ("qvision describe --max-tokens ", set()),
            ("qvision --color=al", {"--color=always"}),
            ("qvision describe -P al", {"alt"}),
            ("qvision describe -m qw", {"qwen3-vl:8b", "qwen3-vl:30b"}),
        ],
    )
    def test_fish_offers_the_same(line: str, offered: set[str], listed: dict[str, str], tmp_path: Path) -> None:
        ask = f"source {FILES['fish']}; complete -C {shlex.quote(line)}"
        done = subprocess.run(
            ["fish", "-c", ask], capture_output=True, env=listed, cwd=tmp_path, check=True, timeout=60
        )
        assert {line.partition("\t")[0] for line in done.stdout.decode().splitlines()} == offered
