"""``qvision completion``: print or install the script that completes commands, options and values in a shell."""

import enum
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from ..errors import OutputError
from ..text import quote_name
from .shared import help_layout, shell_scripts

app = typer.Typer()

_EXAMPLES = """\
qvision completion bash --install
echo 'source <(qvision completion bash)' >> ~/.bashrc"""


class Shell(enum.StrEnum):
    """The shells that have a script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


@app.command(cls=help_layout.Command, epilog=_EXAMPLES)
def completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh, fish or powershell.", show_default=False)],
    *,
    install: Annotated[
        bool, typer.Option("--install", help="Write the script to where the shell looks for it.")
    ] = False,
) -> None:
    """Print or install the completion script for a shell."""
    script = shell_scripts.build_script(shell.value)
    if not install:
        typer.echo(script)
        return
    from ..files import write_atomic

    path, advice = _find_place(shell, os.environ, Path.home())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, (script + "\n").encode(), mode=0o644)
    except OSError as error:
        raise OutputError(
            f"cannot write {quote_name(path)}: {error.strerror}", hint=f"See qvision completion {shell.value}"
        ) from error
    typer.echo(f"wrote {path}")
    typer.echo(advice)


def _find_place(shell: Shell, environ: Mapping[str, str], home: Path) -> tuple[Path, str]:
    """Find the path where a shell looks for the script, and what the user has to do to use it.

    Sources: the README of bash-completion, ``zshcompsys(1)``, ``fish-completions(1)``. PowerShell looks in no folder.
    """
    data = Path(environ.get("XDG_DATA_HOME") or home / ".local/share")
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    match shell:
        case Shell.BASH:
            user_folder = environ.get("BASH_COMPLETION_USER_DIR", "").partition(":")[0]
            path = Path(user_folder or data / "bash-completion") / "completions/qvision"
            return (
                path,
                f"It works in new shells that have bash-completion; in others: echo 'source {path}' >> ~/.bashrc",
            )
        case Shell.ZSH:
            folder = Path(environ.get("ZDOTDIR") or home) / ".zfunc"
            return folder / "_qvision", (
                "It works in new shells if ~/.zshrc contains, in this order: "
                f"fpath+={folder}; autoload -Uz compinit; compinit"
            )
        case Shell.FISH:
            return config / "fish/completions/qvision.fish", "It works in new shells."
        case Shell.POWERSHELL:
            path = config / "powershell/qvision.ps1"
            return path, f'It works in new shells if the file that $PROFILE names contains: . "{path}"'
