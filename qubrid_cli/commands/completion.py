"""``qvision completion``: print the script that completes commands, options and values in a shell."""

import enum
import io
import os
from contextlib import redirect_stdout, suppress
from typing import Annotated

import typer

app = typer.Typer()

#: Makes the script work as a file in the ``fpath`` of zsh too, where the first Tab runs the file, not the function.
_ZSH_AUTOLOAD = '\nif [[ $funcstack[1] == _qvision ]]; then _qvision_completion "$@"; fi'

#: Bash splits words at ``:`` and ``=``. Typer's own script does not join them again and fails on ``qwen3-vl:8b`` and
#: ``--model=Q``; this one does.
_BASH_SCRIPT = """\
_qvision_completion() {
    local IFS=$'\\n' words=() word value joins=
    for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        if [[ ${#words[@]} -gt 1 && ( $joins || $word == [:=]* ) ]]; then words[-1]+=$word; else words+=("$word"); fi
        if [[ $word == *[:=] ]]; then joins=1; else joins=; fi
    done
    COMPREPLY=( $( env COMP_WORDS="${words[*]}" \\
                   COMP_CWORD=$((${#words[@]} - 1)) \\
                   _QVISION_COMPLETE=complete_bash $1 ) )
    value=${words[-1]}
    if [[ $value == --*=* ]]; then value=${value#*=}; fi
    if [[ $COMP_WORDBREAKS == *:* ]]; then COMPREPLY=( "${COMPREPLY[@]#"${value%"${value##*[:=]}"}"}" ); fi
    return 0
}

complete -o default -F _qvision_completion qvision"""


class Shell(enum.StrEnum):
    """The shells that Typer supports."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


@app.command()
def completion(
    context: typer.Context,
    shell: Annotated[Shell, typer.Argument(help="Shell to print the script for.", show_default=False)],
) -> None:
    """Print the completion script for a shell."""
    if shell is Shell.BASH:
        typer.echo(_BASH_SCRIPT)
        return
    # With this variable set, Typer prints the script and exits.
    os.environ["_QVISION_COMPLETE"] = f"source_{shell.value}"
    script = io.StringIO()
    with suppress(SystemExit), redirect_stdout(script):
        context.find_root().command.main(args=[], prog_name="qvision")
    typer.echo(script.getvalue().strip() + (_ZSH_AUTOLOAD if shell is Shell.ZSH else ""))
