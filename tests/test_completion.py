"""Completion in real shells, those of bash, zsh and fish that this machine has (the checks install all three)."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pexpect
import pytest

from .completions import FILES, FOLDER, script
from .conftest import Qvision, command, environment

SETUP = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], f"source {FOLDER}/qvision.bash"),
    "zsh": (["zsh", "-f", "-i"], f"autoload -Uz compinit; compinit -u -D; source {FOLDER}/_qvision"),
    "zsh in fpath": (["zsh", "-f", "-i"], f"fpath=({FOLDER} $fpath); autoload -Uz compinit; compinit -u -D"),
}
HERE = [name for name, (argv, _) in SETUP.items() if shutil.which(argv[0])]


@pytest.mark.parametrize("shell", FILES)
def test_the_scripts_in_the_repository_are_what_the_program_prints(shell: str) -> None:
    assert (FOLDER / FILES[shell]).read_text() == script(shell)


def test_an_unknown_shell_is_a_usage_error_that_names_those_there_are(qvision: Qvision) -> None:
    run = qvision("completion", "tcsh")
    assert (run.exit_code, run.stdout) == (2, b"")
    assert "'bash', 'zsh', 'fish', 'powershell'" in run.stderr


@pytest.fixture
def on_path(tmp_path: Path) -> dict[str, str]:
    """An environment in which ``qvision`` is a program, and a folder with a picture to complete."""
    program = tmp_path / "bin" / "qvision"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.join(command())} "$@"\n')
    program.chmod(0o755)
    (tmp_path / "sunset.jpg").touch()
    env = environment({"TERM": "dumb", "PS1": "% ", "HOME": str(tmp_path)})
    return {**env, "PATH": f"{program.parent}:{env['PATH']}"}


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
    ):
        child.send(f"{typed}\t")
        child.expect_exact(added)
    child.close(force=True)


if shutil.which("fish"):

    @pytest.mark.parametrize(
        ("line", "offered"),
        [
            ("qvision de", {"describe"}),
            ("qvision describe --max-t", {"--max-tokens", "--max-time"}),
            ("qvision describe suns", {"sunset.jpg"}),
        ],
    )
    def test_fish_offers_the_same(line: str, offered: set[str], on_path: dict[str, str], tmp_path: Path) -> None:
        ask = f"source {FOLDER}/qvision.fish; complete -C {shlex.quote(line)}"
        done = subprocess.run(
            ["fish", "-c", ask], capture_output=True, env=on_path, cwd=tmp_path, check=True, timeout=60
        )
        assert {found.partition("\t")[0] for found in done.stdout.decode().splitlines()} == offered
