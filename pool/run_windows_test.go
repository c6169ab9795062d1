package pool

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestWhatAChildStartedEndsWithIt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_, err := run(ctx, child{argv: []string{self(t)}, dir: t.TempDir(), env: append(os.Environ(), sleeperEnv+"="+file)})
		ended <- err
	}()
	var pid int
	soon(t, "it has a child", func() bool {
		data, _ := os.ReadFile(file)
		pid, _ = strconv.Atoi(string(data))
		_, alive := startTime(pid)
		return alive
	})
	cancel()
	if err := <-ended; err == nil {
		t.Error("it ended well")
	}
	soon(t, "the child's child is ended", func() bool { _, alive := startTime(pid); return !alive })
}

func TestAnAnswerComesBackFromAChild(t *testing.T) {
	script := []string{"cmd", "/c", "echo answer& echo complaint>&2& exit 3"}
	done, err := run(t.Context(), child{argv: script, dir: t.TempDir(), env: childEnv(os.Environ())})
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Error(err)
	}
	if strings.TrimSpace(string(done.stdout)) != "answer" || !strings.Contains(done.output, "complaint") {
		t.Errorf("%v: %q, %q", err, done.stdout, done.output)
	}
}

func TestNamesOfVariablesHaveNoCase(t *testing.T) {
	environ := childEnv([]string{`SystemRoot=C:\Windows`, `Path=C:\bin`, `ProgramFiles(x86)=C:\P`, "Conda_Prefix=x", "PythonHome=y"})
	if got := strings.Join(environ, ";"); got != `SystemRoot=C:\Windows;Path=C:\bin;ProgramFiles(x86)=C:\P` {
		t.Error(got)
	}
	if got := lookup(environ, "PATH"); got != `C:\bin` {
		t.Error(got)
	}
}
