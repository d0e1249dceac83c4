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
}
