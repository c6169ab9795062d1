package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"runtimed/internal/statedir"
	"runtimed/internal/testkit"
	"runtimed/rpc"
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

func TestTheWordsOfACommandCompleteIt(t *testing.T) {
	for _, tt := range []struct {
		words []string
		want  string
	}{
		{[]string{"po"}, "pool"},
		{[]string{"comp"}, "completion"},
		{[]string{"sta"}, "status"},
		{[]string{"help", "sta"}, "status"},
		{[]string{"status", "--"}, "--help --json --version --pool --verbose"},
		{[]string{"__"}, ""}, // hidden
		{[]string{"daemon", "s"}, "start stop"},
		{[]string{"--json", "daemon", "l"}, "logs log-level"},
		{[]string{"daemon", "logs", "--level", ""}, "debug info warn error"},
		{[]string{"daemon", "logs", "-f", "--level=w"}, "--level=warn"},
		{[]string{"daemon", "log-level", ""}, "debug info warn error"},
		{[]string{"bugreport", "--output", ""}, ""}, // the shell offers files
		{[]string{"help", "e"}, "env exit-codes environment"},
		{[]string{"help", "--json", "pool", "r"}, "release"},
		{[]string{"help", "exit-codes", ""}, ""},
		{[]string{"pool", "acquire", "--"},
			"--help --json --version --pool --wait --no-start --with --with-requirements --python --project --extra " +
				"--group --frozen --owner-pid --label"},
		{[]string{"daemon", "start", "--a"}, "--auto"},
		{[]string{"env", "list", "--state", "re"}, "ready removing"},
		{[]string{"env", "list", "--state=w"}, "--state=warming"},
		{[]string{"env", "list", "--state", "=", "w"}, "warming"},                  // as bash takes it apart
		{[]string{"env", "list", "--state", "="}, "warming ready leased removing"}, // and PowerShell an empty word
		{[]string{"daemon", "="}, strings.Join(strings.Fields(complete(t, "daemon", "")), " ")},
		{[]string{"completion", ""}, "bash zsh fish powershell"},
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

// PowerShell is on no machine of ours: the parts of its script that the others' tests show to matter are there.
func TestThePowerShellScriptAsksTheSameBackEnd(t *testing.T) {
	var out strings.Builder
	if code := run([]string{"completion", "powershell"}, nil, &out, &out); code != 0 {
		t.Fatal(out.String())
	}
	for _, part := range []string{"Register-ArgumentCompleter -Native -CommandName 'runt'", "__complete '--' @words",
		"else { '=' }"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("it has no %s", part)
		}
	}
	for _, pair := range []string{"()", "{}", "[]"} {
		if open, shut := strings.Count(out.String(), pair[:1]), strings.Count(out.String(), pair[1:]); open != shut {
			t.Errorf("it has %d of %s and %d of %s", open, pair[:1], shut, pair[1:])
		}
	}
}

func TestADaemonThatHangsDoesNotKeepTheShellWaiting(t *testing.T) {
	dir, err := os.MkdirTemp("", "runt") // a socket's path must be short
	testkit.Check(t, err)
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "s")
	if !statedir.SocketIsFile {
		socket = `\\.\pipe\` + filepath.Base(dir)
	}
	ln, err := rpc.Listen(socket)
	testkit.Check(t, err)
	defer ln.Close() // nobody accepts, and no answer ever comes
	t.Setenv("RUNTIMED_SOCKET", socket)
	var out strings.Builder
	since := time.Now()
	if code := run([]string{"__complete", "--", "pool", "status", "--pool", ""}, nil, &out, &out); code != 0 ||
		out.String() != "" {
		t.Errorf("exit %d, %s", code, out.String())
	}
	if took := time.Since(since); took > 10*time.Second { // 200 ms, and what a busy machine adds
		t.Errorf("it took %s", took)
	}
}
