"""``qvision completion``: print the script that teaches a shell our commands and options."""

import enum
import io
import os
from contextlib import redirect_stdout, suppress
from typing import Annotated

import typer

#: Lets zsh find the script as a file in its ``fpath`` too: there the first Tab runs the file instead of the function.
_ZSH_FIRST_TAB = '\nif [[ $funcstack[1] == _qvision ]]; then _qvision_completion "$@"; fi'


class Shell(enum.StrEnum):
    """The shells that Typer can complete in."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


def completion(
    context: typer.Context,
    shell: Annotated[Shell, typer.Argument(help="Shell to print the script for.", show_default=False)],
) -> None:
    """Print the completion script for a shell."""
    # The same way in that a shell takes: Typer prints the script, and ends, when this variable asks for it.
    os.environ["_QVISION_COMPLETE"] = f"source_{shell.value}"
    script = io.StringIO()
    with suppress(SystemExit), redirect_stdout(script):
        context.find_root().command.main(args=[], prog_name="qvision")
    typer.echo(script.getvalue().strip() + (_ZSH_FIRST_TAB if shell is Shell.ZSH else ""))


def add(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(completion)
