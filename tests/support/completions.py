"""Writes the completion scripts: ``python -m tests.support.completions`` asks the program for each and fills ``completions/``."""

import subprocess
from pathlib import Path

from ..conftest import command, environment

#: Installed by the wheel below the prefix of Python, so each script is where its shell looks for it there.
FOLDER = Path(__file__).parent.parent.parent / "completions" / "share"
FILES = {
    "bash": FOLDER / "bash-completion/completions/qvision",
    "zsh": FOLDER / "zsh/site-functions/_qvision",
    "fish": FOLDER / "fish/vendor_completions.d/qvision.fish",
    "powershell": FOLDER / "pwsh/completions/_qvision.ps1",
}


def script(shell: str) -> str:
    """What ``qvision completion SHELL`` prints."""
    done = subprocess.run(command("completion", shell), capture_output=True, env=environment(), check=True, timeout=60)
    return done.stdout.decode()


if __name__ == "__main__":
    for shell, path in FILES.items():
        path.write_text(script(shell))
