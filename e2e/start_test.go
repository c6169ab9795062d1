//go:build e2e && unix

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"runtimed/internal/testkit"
)

func TestADaemonThatEndsAtOnceSaysWhyAndNoLogIsNamedThatIsNotThere(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		daemon string // in its place; empty: the real one
		setup  func(h *house)
		says   []string
	}{
		"a signal":     {"#!/bin/sh\nkill -9 $$\n", nil, []string{"error: the daemon ended at once: signal: killed"}},
		"an exit code": {"#!/bin/sh\nexit 3\n", nil, []string{"error: the daemon ended at once: exit status 3"}},
		"another machine's": {"\x7fELF", nil,
			[]string{"error: starting ", "exec format error", "hint: install it again"}},
		"missing libraries": {"#!/bin/sh\necho runtimed: cannot open libx.so >&2; exit 127\n", nil,
			[]string{"error: the daemon ended at once: exit status 127", "| runtimed: cannot open libx.so"}},
		"no folder that can be written": {"", func(h *house) {
			check(h.t, os.WriteFile(h.state(".."), nil, 0o600))
			h.setenv("TMPDIR", "/nowhere")
		}, []string{"error: looking at the state directory: ", "not a directory",
			"hint: the folder must be yours and writable"}},
		"a lock that is held": {"", func(h *house) {
			check(h.t, os.MkdirAll(h.state(), 0o700))
			lock, err := os.OpenFile(h.state("daemon.lock"), os.O_RDWR|os.O_CREATE, 0o600)
			check(h.t, err)
			h.t.Cleanup(func() { _ = lock.Close() })
			check(h.t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
		}, []string{"error: another daemon runs: it holds ", "daemon.lock"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			bin := t.TempDir()
			for _, program := range []string{runtProgram, daemonProgram} {
				if out, err := exec.Command("cp", program, bin).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			if c.daemon != "" {
				check(t, os.Remove(filepath.Join(bin, "runtimed")))
				testkit.WriteProgram(t, filepath.Join(bin, "runtimed"), []byte(c.daemon))
			}
			if c.setup != nil {
				c.setup(h)
			}
			cmd := exec.Command(filepath.Join(bin, "runt"), "pool", "acquire", "--owner-pid", "1")
			cmd.Env, cmd.Dir = h.env, h.home
			out, err := cmd.CombinedOutput()
			if err == nil || strings.Contains(string(out), "runt daemon logs") {
				t.Errorf("%v: %s", err, out)
			}
			for _, want := range append(c.says, "hint: ") {
				if !strings.Contains(string(out), want) {
					t.Errorf("no %q in %s", want, out)
				}
			}
		})
	}
}
