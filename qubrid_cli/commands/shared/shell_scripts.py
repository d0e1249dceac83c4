"""The scripts with which shells complete command lines of ``qvision``.

Each script runs ``qvision`` with the command line in the environment, and offers the words that it prints, with their
descriptions if there are any. A word that ends in ``:complete-files`` or ``:complete-images`` makes the shell offer files
itself: all files, or folders and files with the suffix of an image. If nothing is printed, nothing is offered.
"""

#: Bash splits words at ``:`` and ``=``; they are joined again, so that ``qwen3-vl:8b`` and ``--model=Q`` are words.
_BASH = """\
_qvision_completion() {
    local IFS=$'\\n' words=() word value line joins=
    for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        if [[ ${#words[@]} -gt 1 && ( $joins || $word == [:=]* ) ]]; then words[-1]+=$word; else words+=("$word"); fi
        if [[ $word == *[:=] ]]; then joins=1; else joins=; fi
    done
    COMPREPLY=( $( env COMP_WORDS="${words[*]}" \\
                   COMP_CWORD=$((${#words[@]} - 1)) \\
                   _QVISION_COMPLETE=complete_bash $1 ) )
    value=${words[-1]}
    if [[ $value == --*=* ]]; then value=${value#*=}; fi
    case ${COMPREPLY[0]-} in
        *:complete-files)
            COMPREPLY=()  # the default of "complete" below
            return 0 ;;
        *:complete-images)
            COMPREPLY=()
            value=${value#[\\"\\']}
            value=${value//\\\\/}
            for line in $(compgen -f -- "$value"); do
                if [[ -d ${line/#\\~/$HOME} || ${line,,} =~ \\.(@FORMATS@)$ ]]; then COMPREPLY+=("$line"); fi
            done
            compopt -o filenames +o default 2>/dev/null
            return 0 ;;
    esac
    compopt +o default 2>/dev/null
    if [[ $COMP_WORDBREAKS == *:* ]]; then COMPREPLY=( "${COMPREPLY[@]#"${value%"${value##*[:=]}"}"}" ); fi
    return 0
}

complete -o default -F _qvision_completion qvision"""

#: The last line makes it work as a file in the ``fpath`` too, where the first Tab runs the file, not the function.
_ZSH = """\
#compdef qvision

_qvision_completion() {
    local line
    local -a lines described
    lines=("${(@f)$(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _TYPER_COMPLETE_FISH_ACTION=get-args \\
        _QVISION_COMPLETE=complete_fish qvision)}")
    if [[ $PREFIX == --*=* ]]; then compset -P 1 '*='; fi
    case $lines[1] in
        '') return 1 ;;
        *:complete-files) _files ;;
        *:complete-images) _files -g '(#i)*.(@FORMATS@)' ;;
        *)
            for line in $lines; do
                if [[ $line == *$'\\t'* ]]; then
                    described+=("${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}")
                else
                    described+=("${line//:/\\\\:}")
                fi
            done
            _describe -V qvision described
    esac
}

compdef _qvision_completion qvision
if [[ $funcstack[1] == _qvision ]]; then _qvision_completion "$@"; fi"""

_FISH = """\
function __qvision_complete
    set -l token (commandline -ct)
    set -l prefix (string match -r -- '^--[^=]+=' $token | string collect --allow-empty)
    set -l value (string replace -r -- '^--[^=]+=' '' $token)
    set -l lines (env _QVISION_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \\
        _TYPER_COMPLETE_ARGS=(commandline -cp | string collect) qvision)
    switch "$lines[1]"
        case '*:complete-files'
            set lines (complete -C "'' $value")
        case '*:complete-images'
            set lines (complete -C "'' $value" | string match -rei -- '(?:/|\\.(?:@FORMATS@))(?:\\t.*)?$')
    end
    for line in $lines
        echo -- $prefix$line
    end
end

complete --command qvision --no-files --arguments '(__qvision_complete)'"""

#: Typer's own script loads PSReadLine, and changes what Tab does for every other program. A tooltip must not be empty.
#: PowerShell completes files by itself if nothing is offered.
_POWERSHELL = """\
Register-ArgumentCompleter -Native -CommandName qvision -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $Env:_QVISION_COMPLETE = "complete_powershell"
    $Env:_TYPER_COMPLETE_ARGS = $commandAst.ToString()
    $Env:_TYPER_COMPLETE_WORD_TO_COMPLETE = $wordToComplete
    try {
        qvision | Where-Object { $_ -notmatch ":complete-(files|images)" } | ForEach-Object {
            $value, $help = $_ -split ":::", 2
            if (-not "$help".Trim()) { $help = $value }
            [System.Management.Automation.CompletionResult]::new($value, $value, "ParameterValue", $help)
        }
    } finally {
        Remove-Item Env:_QVISION_COMPLETE, Env:_TYPER_COMPLETE_ARGS, Env:_TYPER_COMPLETE_WORD_TO_COMPLETE -ErrorAction Ignore
    }
}"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH, "powershell": _POWERSHELL}


def build_script(shell: str) -> str:
    """Build the script for a shell."""
    from ...images.suffixes import READABLE_SUFFIXES

    return _SCRIPTS[shell].replace("@FORMATS@", "|".join(sorted(READABLE_SUFFIXES)))
