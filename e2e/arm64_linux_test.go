//go:build e2e

package e2e

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"runtimed/rpc"
)

const emulator = "qemu-aarch64"

// emulated has both programs for linux/arm64, and runs them by an emulator of that processor. What they start is a
// program of this machine, so the daemon is a script to runt, which starts it by path.
type emulated struct {
	*house
	programs string
}

func newEmulated(t *testing.T) *emulated {
	t.Helper()
	if _, err := exec.LookPath(emulator); err != nil {
		lacking(t, "there is no "+emulator)
	}
	h := newHouse(t).withStandIn(fastUV)
	h.configure(quickly + "2\n")
	e := &emulated{h, t.TempDir()}
	e.build(t, "runt", "runt")
	e.build(t, "runtimed", "emulated/runtimed")
	script := fmt.Sprintf("#!/bin/sh\nexec %s %s \"$@\"\n", emulator, e.daemon())
	check(t, os.WriteFile(filepath.Join(e.programs, "runtimed"), []byte(script), 0o755))
	t.Cleanup(func() {
		if isThere(h.state("daemon.json")) {
			_, _, _ = e.runt("daemon", "stop")
		}
	})
	return e
}

func (e *emulated) build(t *testing.T, program, to string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(e.programs, to), "../cmd/"+program)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// daemon is the path of the daemon's program.
func (e *emulated) daemon() string { return filepath.Join(e.programs, "emulated/runtimed") }

// runt returns what the command prints and says.
func (e *emulated) runt(args ...string) (out, said string, err error) {
	cmd := exec.Command(emulator, append([]string{filepath.Join(e.programs, "runt")}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env, cmd.Dir = e.env, e.home
	err = cmd.Run()
	return stdout.String(), stderr.String(), err
}

// silent runs a command that has nothing to complain about.
func (e *emulated) silent(args ...string) string {
	e.t.Helper()
	out, said, err := e.runt(args...)
	if err != nil || said != "" {
		e.t.Fatalf("runt %v: %v: %s%s", args, err, out, said)
	}
	return out
}

func TestBothProgramsWorkOnARM64(t *testing.T) {
	e := newEmulated(t)
	if out := e.silent("version"); !strings.Contains(out, "linux/arm64") {
		t.Errorf("another processor's: %s", out)
	}
	if out, said, err := e.runt("daemon", "start"); err != nil || said != "" {
		t.Fatalf("%v: %s%s", err, out, said)
	}
	e.filled("uv", 2*time.Minute)
	info := must[rpc.Info](e.house, rpc.MethodInfo, nil)
	if info.Program != e.daemon() || info.Replaced {
		t.Errorf("the daemon's program is %s, replaced: %v", info.Program, info.Replaced)
	}
	if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", info.PID)); err != nil || exe == e.daemon() {
		t.Errorf("the process %d runs %s (%v), and not an emulator", info.PID, exe, err)
	}

	e.silent("rpc", rpc.MethodPing)
	lease := e.acquire(rpc.AcquireParams{})
	if !isThere(filepath.Join(lease.Env.Path, "pyvenv.cfg")) {
		t.Errorf("no environment at %s", lease.Env.Path)
	}
	must[rpc.None](e.house, rpc.MethodRelease, rpc.EnvParams{Env: lease.Env.ID})
	used := strings.TrimSpace(e.silent("run", "--", "sh", "-c", `echo "$VIRTUAL_ENV"`))
	if filepath.Dir(used) != e.state("envs") {
		t.Errorf("a command ran in %q", used)
	}
	e.eventually(time.Minute, "the lease of the command that ended is over", func() bool {
		return e.pool("uv").Leased == 0
	})
	if out := e.silent("pool", "status"); !strings.Contains(out, "UV environments") {
		t.Errorf("the status: %s", out)
	}

	// A second daemon, and one whose predecessor was killed.
	cmd := exec.Command(filepath.Join(e.programs, "runtimed"), "run")
	cmd.Env = e.env
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), fmt.Sprint(info.PID)) {
		t.Errorf("a second daemon: %v: %s", err, out)
	}
	e.filled("uv", time.Minute)
	kept := e.folders()
	daemon, err := os.FindProcess(info.PID)
	check(t, err)
	check(t, daemon.Kill())
	e.eventually(time.Minute, "a new daemon starts", func() bool {
		_, _, err := e.runt("daemon", "start")
		return err == nil
	})
	e.filled("uv", time.Minute)
	if now := e.folders(); strings.Join(now, " ") != strings.Join(kept, " ") {
		t.Errorf("the ready environments were %v, and are %v", kept, now)
	}

	// Now it is.
	text, err := os.ReadFile(e.daemon())
	check(t, err)
	check(t, os.WriteFile(e.daemon()+".new", text, 0o755))
	check(t, os.Rename(e.daemon()+".new", e.daemon()))
	if _, said, err := e.runt("pool", "status"); err != nil || !strings.Contains(said, "program was replaced") {
		t.Errorf("nothing tells that another program is there: %v: %s", err, said)
	}
	if out, said, err := e.runt("daemon", "stop"); err != nil || !strings.Contains(cmp.Or(out, said), "stopped") {
		t.Errorf("%v: %s%s", err, out, said)
	}
}
