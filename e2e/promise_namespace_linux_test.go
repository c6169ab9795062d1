//go:build e2e && unix

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"runtimed/rpc"
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

func TestADaemonRestartsAndStopsBelowAPIDOneThatReapsNobody(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure(off)
	const initOf = `import subprocess, sys
for what in sys.argv[2:]:
    print(subprocess.run([sys.argv[1], "daemon", what], stdout=subprocess.DEVNULL).returncode, flush=True)`
	cmd := h.apart(t, "python3", "-c", initOf, runtProgram, "start", "restart", "restart", "stop", "info")
	out, err := cmd.Output()
	if got := strings.Join(strings.Fields(string(out)), " "); err != nil || got != "0 0 0 0 3" {
		t.Errorf("the exit codes are %s, and the last should be 3: %v", got, err)
	}
}

func TestARestartOnADiskThatTurnedReadOnlyLeavesTheDaemonThere(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure(off)
	h.runt("daemon", "start")
	defer h.runt("daemon", "stop")
	before := must[rpc.Info](h, rpc.MethodInfo, nil)
	h.mount(t, h.state(), "--bind", h.state())
	if out, err := exec.Command("mount", "-o", "remount,bind,ro", h.state()).CombinedOutput(); err != nil {
		lacking(t, fmt.Sprintf("%v: %s", err, out))
	}
	restart := exec.Command(runtProgram, "daemon", "restart")
	restart.Env = h.env
	if out, err := restart.CombinedOutput(); err == nil || !strings.Contains(string(out), "is read-only") {
		t.Errorf("got %s, %v", out, err)
	}
	if after := must[rpc.Info](h, rpc.MethodInfo, nil); after.PID != before.PID {
		t.Errorf("pid %d answers, not %d", after.PID, before.PID)
	}
}

// keeps fails where an environment goes within the time of two regular looks, and more.
func (h *house) keeps(what string, env rpc.Env) {
	h.t.Helper()
	time.Sleep(11 * time.Second)
	if err := whole(env.Path); err != nil || !slices.Contains(h.ids(rpc.EnvLeased), env.ID) {
		h.t.Errorf("%s: %v, leased: %v", what, err, h.ids(rpc.EnvLeased))
	}
}

// leftLeased is an environment that a daemon of this namespace, which has stopped, leased to a process that lives.
func (h *house) leftLeased(t *testing.T) (*tenant, rpc.Env) {
	h.t.Helper()
	h.configure(quickly + "1\n")
	d := h.start()
	h.filled("uv", time.Minute)
	owner := newTenantFor(t)
	env := h.acquire(rpc.AcquireParams{OwnerPID: new(owner.pid())}).Env
	h.stopped(d)
	return owner, env
}

// stopped ends the daemon from here, wherever it runs.
func (h *house) stopped(d *lodger) string {
	h.t.Helper()
	said := h.runt("daemon", "stop")
	d.exit(10 * time.Second)
	return said
}

func TestAnOwnerInAnotherPIDNamespaceIsNeverTakenForGone(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(fastUV)
	h.apart(t, "true") // or skips
	owner, env := h.leftLeased(t)

	h.script = `exec unshare --pid --fork --kill-child --mount-proc "$@"`
	d := h.start()
	h.keeps("a daemon in another PID namespace", env)
	if out := h.runt("env", "list"); !strings.Contains(out, fmt.Sprintf("pid %d in another PID namespace",
		owner.pid())) {
		t.Errorf("who holds it is not told:\n%s", out)
	}
	_, err := ask[rpc.AcquireResult](h, rpc.MethodAcquire, rpc.AcquireParams{OwnerPID: new(1)})
	if e := (*rpc.Error)(nil); !errors.As(err, &e) || e.Data.Kind != rpc.KindInvalidParams || e.Data.Hint == "" {
		t.Errorf("a client outside: %v", err)
	}
	if leased := h.ids(rpc.EnvLeased); len(leased) != 1 {
		t.Errorf("leased: %v", leased)
	}
	said := h.stopped(d)
	if its := regexp.MustCompile(`stopped: pid \d+ in its PID namespace, \d+ in this one`); !its.MatchString(said) {
		t.Errorf("runt daemon stop from outside: %s", said)
	}

	d = h.start()
	must[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: env.ID})
	h.eventually(20*time.Second, "what was released by hand is gone", func() bool { return whole(env.Path) != nil })
	h.stopped(d)
}

func TestAContainerWithItsOwnNameForTheBootTakesNoOwnerOfItsHostForGone(t *testing.T) {
	t.Parallel()
	if link, _ := os.Readlink("/proc/self/ns/pid"); link != "pid:[4026531836]" {
		lacking(t, "these tests run in a container themselves: "+link)
	}
	h := newHouse(t).withStandIn(fastUV)
	own := filepath.Join(h.home, "boot_id")
	check(t, os.WriteFile(own, []byte("01234567-89ab-cdef-0123-456789abcdef\n"), 0o600))
	in := `mount --bind '` + own + `' /proc/sys/kernel/random/boot_id && exec "$@"`
	if out, err := h.apart(t, "sh", "-c", in, "sh", "true").CombinedOutput(); err != nil {
		lacking(t, "nothing can be mounted there: "+string(out))
	}
	_, env := h.leftLeased(t)
	h.script = `exec unshare --pid --fork --kill-child --mount-proc sh -c '` + strings.ReplaceAll(in, "'", `'\''`) +
		`' sh "$@"`
	d := h.start()
	h.keeps("a container with a boot of its own", env)
	h.stopped(d)
}

func TestWithoutProcNothingIsTakenForGoneAndTheReasonIsTold(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(fastUV)
	h.apart(t, "true") // or skips
	_, held := h.leftLeased(t)
	for why, script := range map[string]string{
		"/proc is not mounted here":              `exec unshare --mount sh -c 'umount -l /proc; exec "$@"' sh "$@"`,
		"/proc is that of another PID namespace": `exec unshare --pid --fork --kill-child "$@"`,
		"both": `exec unshare --pid --mount --fork --kill-child sh -c '` +
			`mount -t tmpfs none /proc; exec "$@"' sh "$@"`,
	} {
		h.script = script
		d := h.start()
		if out := h.runt("env", "list"); !strings.Contains(out, held.ID) {
			t.Errorf("%s:\n%s", why, out)
		}
		if strings.HasPrefix(why, "/proc") {
			h.keeps(why, held)
		}
		if strings.HasSuffix(why, "here") {
			_, err := ask[rpc.AcquireResult](h, rpc.MethodAcquire, nil)
			if err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("an acquire is told %v", err)
			}
		}
		h.stopped(d)
	}
	cmd := exec.Command("unshare", "--mount", "sh", "-c", `umount -l /proc; exec "$@"`, "sh", daemonProgram, "doctor",
		"--json")
	cmd.Env, cmd.Dir = h.env, h.home
	out, _ := cmd.Output()
	if found := h.told(out, cmd.ProcessState.ExitCode())["processes"]; found.Status != rpc.CheckProblem ||
		!strings.Contains(found.Message, "/proc is not mounted here") {
		t.Errorf("the doctor says %+v", found)
	}
}

func TestAClientInAnotherPIDNamespaceOwnsWhatItAsksForOrIsToldWhy(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(fastUV)
	h.apart(t, "true") // or skips
	h.configure(quickly + "2\n")
	h.start()
	h.filled("uv", time.Minute)
	out, err := h.apart(t, runtProgram, "rpc", "pool.acquire", `{"owner_pid":2}`).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "another PID namespace") ||
		!strings.Contains(string(out), "hint: leave owner_pid out") {
		t.Errorf("a number of another namespace: %v: %s", err, out)
	}
	// kthreadd, where that is to be seen
	_, err = ask[rpc.AcquireResult](h, rpc.MethodAcquire, rpc.AcquireParams{OwnerPID: new(2)})
	if rpc.KindOf(err) != rpc.KindInvalidParams {
		t.Errorf("a thread of the kernel: %v", err)
	}
	if leased := h.ids(rpc.EnvLeased); len(leased) != 0 {
		t.Errorf("leased: %v", leased)
	}
	runs := h.apart(t, runtProgram, "run", "sleep", "60")
	check(t, runs.Start())
	h.eventually(20*time.Second, "it has its own", func() bool { return len(h.ids(rpc.EnvLeased)) == 1 })
	time.Sleep(6 * time.Second) // a regular look
	leased := must[rpc.EnvListResult](h, rpc.MethodEnvList, rpc.EnvListParams{State: new(rpc.EnvLeased)}).Envs
	if len(leased) != 1 {
		t.Fatalf("leased: %v", leased)
	}
	if err := syscall.Kill(leased[0].Lease.OwnerPID, syscall.SIGKILL); err != nil { // by its number here
		t.Error(err)
	}
	_ = runs.Wait()
	h.eventually(20*time.Second, "its end is seen", func() bool { return len(h.ids(rpc.EnvLeased)) == 0 })
}

func TestAClientInAnotherPIDNamespaceGetsNoStandbyWhoseNumberIsAStrangers(t *testing.T) {
	t.Parallel()
	s := standbyHouse(t, 1)
	s.stands()
	out, err := s.apart(t, runtProgram, "rpc", "pool.acquire", `{"standby":true}`).CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"standby":null`) {
		t.Errorf("%v: %s", err, out)
	}
}
