//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"runtimed/rpc"
)

// sleeper is a process that owns environments.
func sleeper(t testing.TB) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "RUNT_TEST_SLEEPER=")
	check(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func (h *house) acquireFor(cmd *exec.Cmd) rpc.Env {
	h.t.Helper()
	pid := cmd.Process.Pid
	return h.acquire(rpc.AcquireParams{OwnerPID: &pid}).Env
}

// ready are the ids of the environments that are.
func (h *house) ready() (ids []string) {
	h.t.Helper()
	for _, e := range must[rpc.EnvListResult](h, rpc.MethodEnvList, nil).Envs {
		if e.State == rpc.EnvReady {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

// loggedNoFault fails the test if the daemon has warned of anything.
func (h *house) loggedNoFault() {
	h.t.Helper()
	log, err := os.ReadFile(h.state("runtimed.log"))
	check(h.t, err)
	for line := range strings.Lines(string(log)) {
		if !strings.Contains(line, `"level":"info"`) {
			h.t.Error(line)
		}
	}
}

func TestWindowsAKilledDaemonLeavesWhatIsReadyAndLeasedAndNothingHalfMade(t *testing.T) {
	t.Parallel()
	h, d := warmHouse(t, "1")
	owner := sleeper(t)
	leased := h.acquireFor(owner)
	h.filled("uv", time.Minute)
	ready := h.ready()

	h.gate()
	h.configure(quickly + "3\n")
	h.runt("daemon", "reload")
	h.eventually(time.Minute, "two builds are at the gate", func() bool { return len(h.atTheGate()) == 2 })
	halfMade := slices.DeleteFunc(h.folders(), func(id string) bool {
		return id == leased.ID || slices.Contains(ready, id)
	})
	if len(halfMade) != 2 {
		t.Fatalf("%d builds are under way", len(halfMade))
	}
	d.kill()
	h.eventually(10*time.Second, "the processes of the builds have ended", func() bool {
		return !slices.ContainsFunc(h.atTheGate(), lives)
	})
	h.openGate()

	h.configure(quickly + "1\n")
	h.start()
	if now := h.ready(); !slices.Equal(now, ready) {
		t.Errorf("ready are %q, and were %q", now, ready)
	}
	if s := h.pool("uv"); s.Leased != 1 {
		t.Errorf("%+v", s)
	}
	for _, id := range h.folders() {
		if slices.Contains(halfMade, id) {
			t.Errorf("%s stays", id)
		}
	}
	if records, err := os.ReadDir(h.state("envs", ".new")); err != nil || len(records) > 0 {
		t.Errorf("%v, %v", records, err)
	}
	h.loggedNoFault()

	if again := h.acquireFor(owner); !slices.Contains(ready, again.ID) {
		t.Errorf("%s was given, and %q were ready", again.ID, ready)
	}
	check(t, owner.Process.Kill())
	h.eventually(10*time.Second, "the leases end that an earlier daemon gave", func() bool {
		return h.pool("uv").Leased == 0
	})
}

func TestWindowsASecondDaemonSaysWhoRuns(t *testing.T) {
	h := newHouse(t)
	h.configure(off)
	first := h.start()
	second := h.launch()
	if code := second.exit(time.Minute); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if want := fmt.Sprint("another daemon runs (pid ", first.cmd.Process.Pid, ", socket "); !strings.Contains(
		second.stderr.String(), want) {
		t.Errorf("%q is not in %s", want, second.stderr)
	}
	h.runt("daemon", "info") // the first one still answers
}

func TestWindowsASecondDaemonElsewhereSaysWhoHasThePipe(t *testing.T) {
	h, other := newHouse(t), newHouse(t)
	other.setenv("RUNTIMED_SOCKET", h.socket)
	h.configure(off)
	other.configure(off)
	first := h.start()
	second := other.launch()
	if code := second.exit(time.Minute); code != 1 {
		t.Errorf("exit code %d", code)
	}
	want := fmt.Sprintf("%s: socket in use by runtimed %s, pid %d", h.socket, rpc.Version(), first.cmd.Process.Pid)
	if !strings.Contains(second.stderr.String(), want) {
		t.Errorf("%q is not in %s", want, second.stderr)
	}
	h.runt("daemon", "info") // the first one still answers
}

func TestWindowsOfDaemonsThatStartAtOnceOneRunsAndTheOthersNameIt(t *testing.T) {
	h := newHouse(t)
	h.configure(off)
	var all []*lodger
	for range 4 {
		all = append(all, h.launch())
	}
	h.eventually(time.Minute, "one answers", h.answers)
	info := must[rpc.Info](h, rpc.MethodInfo, nil)
	for _, d := range all {
		if d.cmd.Process.Pid == info.PID {
			continue
		}
		code := d.exit(time.Minute)
		if said := d.stderr.String(); code != 1 || !strings.Contains(said, fmt.Sprint("pid ", info.PID)) {
			t.Errorf("exit code %d: %s", code, said)
		}
	}
	if s := h.statusFile(); s.PID != info.PID || s.Endpoint != h.socket {
		t.Errorf("%+v", s)
	}
}

func TestWindowsTheFirstClientOfADaemonIsAnswered(t *testing.T) {
	h := newHouse(t)
	h.configure(off)
	for range 3 {
		d := h.launch()
		h.eventually(time.Minute, "it listens", func() bool { return isThere(h.state("daemon.json")) })
		if s := h.runt("pool", "status"); !strings.Contains(s, "Off") {
			t.Error(s)
		}
		h.runt("daemon", "stop")
		if code := d.exit(time.Minute); code != 0 || d.stderr.Len() > 0 {
			t.Errorf("exit code %d: %s", code, d.stderr)
		}
		if isThere(h.state("daemon.json")) {
			t.Error("daemon.json stays")
		}
	}
}

// use is a process that runs an environment's Python.
func (h *house) use(env rpc.Env) *exec.Cmd {
	h.t.Helper()
	cmd := exec.Command(env.Python, "hold")
	cmd.Env = h.env
	in, err := cmd.StdinPipe()
	check(h.t, err)
	check(h.t, cmd.Start())
	h.t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func TestWindowsAnEnvironmentStaysWhileAProcessRunsInIt(t *testing.T) {
	t.Parallel()
	h, _ := warmHouse(t, "1")
	owner := sleeper(t)
	env := h.acquireFor(owner)
	user := h.use(env)
	other := h.acquireFor(owner)
	open, err := os.Open(other.Path) // the folder cannot be moved, as where a process works in it
	check(t, err)
	defer open.Close()

	for _, id := range []string{env.ID, other.ID} {
		h.runt("pool", "release", id)
	}
	h.runt("env", "gc")
	h.runt("pool", "flush")
	h.filled("uv", time.Minute)
	if !isThere(env.Python) || !isThere(filepath.Join(env.Path, `Lib\site-packages\last`)) {
		t.Error("it was removed under a process")
	}
	if !isThere(other.Python) {
		t.Error("a folder that is open was moved")
	}
	check(t, user.Process.Kill())
	_ = user.Wait() // it was killed
	h.eventually(time.Minute, "it is removed once nobody uses it", func() bool { return !isThere(env.Path) })

	check(t, open.Close())
	h.runt("env", "gc")
	h.eventually(time.Minute, "the one that was open is removed too", func() bool {
		return !isThere(other.Path)
	})
	h.eventually(time.Minute, "nothing is being removed", func() bool { return h.pool("uv").Removing == 0 })
}
