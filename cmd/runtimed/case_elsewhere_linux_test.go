package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// apart is a command in a PID namespace of its own, which ends with the test.
func (h *house) apart(t *testing.T, argv ...string) *exec.Cmd {
	t.Helper()
	unshare := []string{"unshare", "--pid", "--fork", "--kill-child", "--mount-proc"}
	if out, err := exec.Command(unshare[0], append(unshare[1:], "true")...).CombinedOutput(); err != nil {
		lacking(t, "no PID namespace can be made here: "+string(out))
	}
	cmd := exec.CommandContext(t.Context(), unshare[0], append(unshare[1:], argv...)...)
	cmd.Env, cmd.Dir = h.env, h.home
	return cmd
}

// installed is a runt with this daemon beside it.
func (h *house) installed() string {
	h.t.Helper()
	program, err := runtProgram()
	if err != nil {
		h.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	dir := filepath.Join(h.home, "bin")
	runt := filepath.Join(dir, "runt")
	err = errors.Join(os.MkdirAll(dir, 0o755), os.Symlink(program, runt),
		os.WriteFile(filepath.Join(dir, "runtimed"), fmt.Appendf(nil, "#!/bin/sh\nexec '%s' \"$@\"\n", self), 0o755))
	if err != nil {
		h.t.Fatal(err)
	}
	h.setenv("PATH", dir+":"+os.Getenv("PATH")) // runt is a link, so its daemon is looked for here
	return runt
}

func TestADaemonRestartsAndStopsBelowAPIDOneThatReapsNobody(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure(off)
	const initOf = `import subprocess, sys
for what in sys.argv[2:]:
    print(subprocess.run([sys.argv[1], "daemon", what], stdout=subprocess.DEVNULL).returncode, flush=True)`
	cmd := h.apart(t, "python3", "-c", initOf, h.installed(), "start", "restart", "restart", "stop", "info")
	out, err := cmd.Output()
	if got := strings.Join(strings.Fields(string(out)), " "); err != nil || got != "0 0 0 0 3" {
		t.Errorf("the exit codes are %s, and the last should be 3: %v", got, err)
	}
}
