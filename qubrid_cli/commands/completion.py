"""``qvision completion``: print or install the script that completes commands, options and values in a shell."""

import enum
import io
import os
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Annotated

import typer

from ..errors import OutputError
from .shared import help_layout

app = typer.Typer()

_EXAMPLES = """\
qvision completion bash --install
echo 'source <(qvision completion bash)' >> ~/.bashrc"""

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


#: Typer's own script loads PSReadLine and changes what Tab does in every other program. A tool tip must not be empty.
_POWERSHELL_SCRIPT = """\
Register-ArgumentCompleter -Native -CommandName qvision -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $Env:_QVISION_COMPLETE = "complete_powershell"
    $Env:_TYPER_COMPLETE_ARGS = $commandAst.ToString()
    $Env:_TYPER_COMPLETE_WORD_TO_COMPLETE = $wordToComplete
    try {
        qvision | ForEach-Object {
            $value, $help = $_ -split ":::", 2
            if (-not "$help".Trim()) { $help = $value }
            [System.Management.Automation.CompletionResult]::new($value, $value, "ParameterValue", $help)
        }
    } finally {
        Remove-Item Env:_QVISION_COMPLETE, Env:_TYPER_COMPLETE_ARGS, Env:_TYPER_COMPLETE_WORD_TO_COMPLETE -ErrorAction Ignore
    }
}"""


class Shell(enum.StrEnum):
    """The shells that Typer supports."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


_SCRIPTS = {Shell.BASH: _BASH_SCRIPT, Shell.POWERSHELL: _POWERSHELL_SCRIPT}


@app.command(cls=help_layout.Command, epilog=_EXAMPLES)
def completion(
    context: typer.Context,
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh, fish or powershell.", show_default=False)],
    *,
    install: Annotated[
        bool, typer.Option("--install", help="Write the script to where the shell looks for it.")
    ] = False,
) -> None:
    """Print or install the completion script for a shell."""
    script = _build_script(context, shell)
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
            f"cannot write {path}: {error.strerror}", hint=f"See qvision completion {shell.value}"
        ) from error
    typer.echo(f"wrote {path}")
    typer.echo(advice)


def _build_script(context: typer.Context, shell: Shell) -> str:
    if shell in _SCRIPTS:
        return _SCRIPTS[shell]
    # With this variable set, Typer prints the script and exits.
    os.environ["_QVISION_COMPLETE"] = f"source_{shell.value}"
    script = io.StringIO()
    with suppress(SystemExit), redirect_stdout(script):
        context.find_root().command.main(args=[], prog_name="qvision")
    return script.getvalue().strip() + (_ZSH_AUTOLOAD if shell is Shell.ZSH else "")


def _find_place(shell: Shell, environ: Mapping[str, str], home: Path) -> tuple[Path, str]:
    """Where a shell looks for the script, and what the user must still do.

    Sources: the README of bash-completion, ``zshcompsys(1)``, ``fish-completions(1)``; PowerShell has no such folder.
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
