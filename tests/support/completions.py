"""Writes the completion scripts: ``python -m tests.support.completions`` asks the program for each and fills ``completions/``."""

import subprocess
from pathlib import Path

from ..conftest import command, environment

FOLDER = Path(__file__).parent.parent.parent / "completions"
FILES = {"bash": "qvision.bash", "zsh": "_qvision", "fish": "qvision.fish", "powershell": "qvision.ps1"}


def script(shell: str) -> str:
    """What ``qvision completion SHELL`` prints."""
    done = subprocess.run(command("completion", shell), capture_output=True, env=environment(), check=True, timeout=60)
    return done.stdout.decode()


if __name__ == "__main__":
    for shell, name in FILES.items():
        (FOLDER / name).write_text(script(shell))
