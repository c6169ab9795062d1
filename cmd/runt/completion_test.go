package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func complete(t *testing.T, words ...string) string {
	t.Helper()
	t.Setenv("RUNTIMED_SOCKET", filepath.Join(t.TempDir(), "none"))
	var out, errs strings.Builder
	if code := run(append([]string{"__complete", "--"}, words...), nil, &out, &errs); code != 0 {
		t.Errorf("%q: exit %d, %s", words, code, errs.String())
	}
	return strings.Join(strings.Fields(out.String()), " ")
}

func TestComplete(t *testing.T) {
	for _, tt := range []struct {
		words []string
		want  string
	}{
		{nil, "pool env run daemon config rpc completion version"},
		{[]string{""}, "pool env run daemon config rpc completion version"},
		{[]string{"d"}, "daemon"},
		{[]string{"daemon", "s"}, "start stop"},
		{[]string{"--json", "daemon", ""}, "info start stop logs reload"},
		{[]string{"pool", "acquire", "--"}, "--help --json --version --pool --wait --no-start --owner-pid --label"},
		{[]string{"daemon", "start", "--a"}, ""}, // hidden
		{[]string{"env", "list", "--state", "re"}, "ready removing"},
		{[]string{"env", "list", "--state=w"}, "--state=warming"},
		{[]string{"env", "list", "--state", "=", "w"}, "warming"}, // as bash takes it apart
		{[]string{"env", "list", "--state", "="}, "warming ready leased removing"},
		{[]string{"completion", ""}, "bash zsh fish"},
		{[]string{"rpc", "pool.re"}, "pool.release"},
		{[]string{"pool", "status", "--pool", ""}, ""}, // no daemon to ask
		{[]string{"run", "python", "--"}, ""},          // another command's words
		{[]string{"run", "--", "py"}, ""},
		{[]string{"nope", "x"}, ""},
		{[]string{"pool", "acquire", "--wait", "po"}, ""},
	} {
		if got := complete(t, tt.words...); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.words, got, tt.want)
		}
	}
}

// The shells load their scripts, and bash, which every machine here has, completes with it.
func TestCompletionScripts(t *testing.T) {
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
	}
	for shell, args := range shells {
		t.Run(shell, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil {
				t.Skip(err)
			}
			cmd := exec.Command(shell, args...)
			cmd.Env = append(os.Environ(), "HOME="+dir, "RUNTIMED_SOCKET="+dir+"/none")
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
