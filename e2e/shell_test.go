//go:build e2e && unix

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestScriptsWithADaemon(t *testing.T) { runScripts(t, "testdata/daemon") }

// Bash is on every machine here; the others are tried where they are.
func TestTheShellsCompleteWithTheirScripts(t *testing.T) {
	dir := t.TempDir()
	shells := map[string][]string{
		"bash": {"--norc", "-c", `
			source <(runt completion bash)
			ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _runt runt; echo "${COMPREPLY[*]}"; }
			ask runt da
			ask runt env list --state ""
			complete -p runt`},
		"zsh": {"-f", "-c", `
			autoload -U compinit && compinit -u -D
			source <(runt completion zsh)
			compadd() { shift; print -r -- "$*"; }
			ask() { words=("$@"); CURRENT=$#; _runt; }
			ask runt da
			ask runt env list --state ""
			print "complete -o default -F $_comps[runt] runt"`},
		"fish": {"--no-config", "-c", `
			runt completion fish | source
			complete -C "runt da" | string join " "
			complete -C "runt env list --state " | sort -r | string join " "
			echo complete -o default -F _runt runt`},
		"pwsh": {"-NoProfile", "-NonInteractive", "-Command", `
			runt completion powershell | Out-String | Invoke-Expression
			function ask($line) { ([System.Management.Automation.CommandCompletion]::CompleteInput($line, $line.Length, $null).CompletionMatches |
				ForEach-Object CompletionText) -join ' ' }
			ask 'runt da'
			ask 'runt env list --state '
			'complete -o default -F _runt runt'`},
	}
	for shell, args := range shells {
		t.Run(shell, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil && shell == "pwsh" {
				t.Skip(err) // no package of Debian's
			} else if err != nil {
				lacking(t, err.Error())
			}
			cmd := exec.Command(shell, args...)
			cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(runtProgram)+":"+os.Getenv("PATH"), "HOME="+dir, "RUNTIMED_SOCKET="+dir+"/none")
			out, err := cmd.CombinedOutput()
			want := "daemon\nwarming ready leased removing\ncomplete -o default -F _runt runt\n"
			if shell == "fish" {
				want = strings.Replace(want, "warming ready leased removing", "warming removing ready leased", 1)
			}
			if err != nil || string(out) != want {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
