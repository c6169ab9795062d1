package tool

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"runtimed/internal/proc"
	"runtimed/internal/testkit"
)

func TestWhatAChildStartedEndsWithIt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_, err := Run(ctx, Command{Argv: []string{testkit.Self(t)}, Dir: t.TempDir(),
			Env: append(os.Environ(), testkit.SleeperEnv+"="+file)})
		ended <- err
	}()
	var pid int
	testkit.Soon(t, "it has a child", func() bool {
		data, _ := os.ReadFile(file)
		pid, _ = strconv.Atoi(string(data))
		return proc.Runs(pid)
	})
	cancel()
	if err := <-ended; err == nil {
		t.Error("it ended well")
	}
	testkit.Soon(t, "the child's child is ended", func() bool { return !proc.Runs(pid) })
}

func TestAnAnswerComesBackFromAChild(t *testing.T) {
	script := []string{"cmd", "/c", "echo answer& echo complaint>&2& exit 3"}
	done, err := Run(t.Context(), Command{Argv: script, Dir: t.TempDir(), Env: Environ(os.Environ())})
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Error(err)
	}
	if strings.TrimSpace(string(done.Stdout)) != "answer" || !strings.Contains(done.Output, "complaint") {
		t.Errorf("%v: %q, %q", err, done.Stdout, done.Output)
	}
}

func TestNamesOfVariablesHaveNoCase(t *testing.T) {
	environ := Environ([]string{`SystemRoot=C:\Windows`, `Path=C:\bin`, `ProgramFiles(x86)=C:\P`, "Conda_Prefix=x",
		"PythonHome=y"})
	if got := strings.Join(environ, ";"); got != `SystemRoot=C:\Windows;Path=C:\bin;ProgramFiles(x86)=C:\P` {
		t.Error(got)
	}
	if got := Lookup(environ, "PATH"); got != `C:\bin` {
		t.Error(got)
	}
}
