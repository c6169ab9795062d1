//go:build e2e && unix

package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"runtimed/internal/failure"
	"runtimed/rpc"
)

// fills runs runt pool fill, which may start a daemon.
func (h *house) fills(args ...string) (stdout, stderr string, code int) {
	h.t.Helper()
	var out, errs strings.Builder
	cmd := exec.Command(runtProgram, append([]string{"pool", "fill"}, args...)...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = h.env, h.home, &out, &errs
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		h.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// endsDaemon ends the daemon that a command started.
func (h *house) endsDaemon() {
	h.t.Cleanup(func() { h.runtEnds("", "daemon", "stop") })
}

func TestFillReturnsOncePoolsAreFullAndOnlyTellsOfOneThatNobodyAskedFor(t *testing.T) {
	t.Parallel()
	h := withoutNetwork(t)
	h.configure(quickly + "2\n")
	h.endsDaemon()
	out, said, code := h.fills("--wait", "--timeout", "2m")
	if code != failure.OK || out != "uv: 2 of 2 ready\nconda: 0 of 3 ready\n" ||
		!strings.Contains(said, "note: the pool conda cannot be filled: ") ||
		!strings.Contains(said, "hint: ") || !strings.Contains(said, "size = 0 in [pools.conda]") {
		t.Errorf("exit code %d: %s%s", code, out, said)
	}
	if n := len(h.ids(rpc.EnvReady)); n != 2 {
		t.Errorf("%d are ready", n)
	}
	out, said, code = h.fills("--wait", "conda")
	if code != failure.BuildFailed || out != "" ||
		!strings.Contains(said, "error: the pool conda cannot be filled: ") ||
		!strings.Contains(said, "| error    libmamba Could not resolve host") || !strings.Contains(said, "hint: ") {
		t.Errorf("by its name: exit code %d: %s%s", code, out, said)
	}
	var r rpc.StatusResult
	out, said, code = h.fills("--wait", "--json", "uv")
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != failure.OK || said != "" ||
		len(r.Pools) != 2 || r.Pools[0].Available != 2 {
		t.Errorf("as JSON: exit code %d, %v: %s%s", code, err, out, said)
	}
	for name, want := range map[string]int{"nope": failure.Unknown, "--timeout=1s": failure.Usage} {
		if out, said, code = h.fills(name); code != want || out != "" || !strings.Contains(said, "error: ") {
			t.Errorf("%s: exit code %d: %s%s", name, code, out, said)
		}
	}
	h.configure(off)
	h.runt("daemon", "reload")
	if _, said, code = h.fills("uv"); code != failure.Failed ||
		!strings.Contains(said, "error: the pool uv is off (size 0)") {
		t.Errorf("off: exit code %d: %s", code, said)
	}
}

func TestFillSaysWhatFailsAndTriesItAgainAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	well := filepath.Join(h.home, "well")
	h.withStandIn(at(stepSync, "[ -e "+well+" ] || { echo 'error: it is out of order' >&2; exit 2; }"))
	h.configure(quickly + "2\n")
	h.endsDaemon()
	for range 2 { // the second time it has failed before
		out, said, code := h.fills("--wait")
		if code != failure.BuildFailed || out != "" ||
			!strings.Contains(said, "error: the pool uv cannot be filled: ") ||
			!strings.Contains(said, "| error: it is out of order") || !strings.Contains(said, "hint: ") {
			t.Errorf("exit code %d: %s%s", code, out, said)
		}
	}
	if next := h.pool("uv").Error.NextRetryMS; next < 1000 {
		t.Errorf("the next try is in %d ms, so it proves nothing", next)
	}
	check(t, os.WriteFile(well, nil, 0o600))
	if out, said, code := h.fills("--wait"); code != failure.OK || out != "uv: 2 of 2 ready\n" {
		t.Errorf("exit code %d: %s%s", code, out, said)
	}
}

func TestFillGivesUpAfterItsTimeAndOnASignalAndWithItsDaemon(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	goOn := filepath.Join(h.home, "go")
	h.withStandIn(at(stepSync, "until [ -e "+goOn+" ]; do sleep 0.05; done"))
	h.configure(quickly + "1\n")
	if _, said, code := h.runtEnds("", "pool", "fill"); code != failure.Unreachable ||
		!strings.Contains(said, "RUNTIMED_NO_START") {
		t.Errorf("where no daemon may be started: exit code %d: %s", code, said)
	}
	h.endsDaemon()
	if out, said, code := h.fills(); code != failure.OK || out != "uv: 0 of 1 ready\n" {
		t.Errorf("without --wait: exit code %d: %s%s", code, out, said)
	}
	if out, said, code := h.fills("--wait", "--timeout", "300ms"); code != failure.NoEnvironment || out != "" ||
		!strings.Contains(said, "error: not full after 300ms: uv: 0 of 1 ready") {
		t.Errorf("after its time: exit code %d: %s%s", code, out, said)
	}
	ends := func(end func(*exec.Cmd)) int {
		cmd := exec.Command(runtProgram, "pool", "fill", "--wait")
		cmd.Env, cmd.Dir = h.env, h.home
		said, err := cmd.StderrPipe()
		check(t, errors.Join(err, cmd.Start()))
		first := make([]byte, 1)
		_, err = said.Read(first) // it waits
		check(t, err)
		end(cmd)
		for err == nil {
			_, err = said.Read(first)
		}
		_ = cmd.Wait() // the exit code says it
		return cmd.ProcessState.ExitCode()
	}
	if code := ends(func(c *exec.Cmd) { check(t, c.Process.Signal(syscall.SIGINT)) }); code != failure.Interrupted {
		t.Errorf("on Ctrl-C the exit code is %d", code)
	}
	if code := ends(func(*exec.Cmd) { h.runt("daemon", "stop") }); code != failure.Unreachable {
		t.Errorf("with its daemon the exit code is %d", code)
	}
	check(t, os.WriteFile(goOn, nil, 0o600))
	if _, said, code := h.fills("--wait", "--timeout", time.Minute.String()); code != failure.OK {
		t.Errorf("exit code %d: %s", code, said)
	}
}
