# runt completion for PowerShell
Register-ArgumentCompleter -Native -CommandName 'runt', 'runt.exe' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $runt = $commandAst.CommandElements[0].ToString()
    $words = @($commandAst.CommandElements | Select-Object -Skip 1 |
        Where-Object { $_.Extent.EndOffset -lt $cursorPosition } | ForEach-Object { $_.ToString() })
    # An empty word is lost on its way to a program, so "=" stands for one.
    $words += if ($wordToComplete) { "$wordToComplete" } else { '=' }
    & $runt __complete '--' @words 2>$null | ForEach-Object {
        [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
    }
}
