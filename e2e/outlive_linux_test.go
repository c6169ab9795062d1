//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"runtimed/internal/failure"
	"runtimed/internal/proc"
	"runtimed/rpc"
)

// withKernel stands in for uv. The first build starts a child that belongs to no build, as a standby kernel does. While
// there is a file hang, the builds after it hang, in two sessions.
var withKernel = at(stepVenv, `
if mkdir "$HOME/first" 2>/dev/null; then
  env -u RUNT_BUILD_OF setsid sleep 600 </dev/null >/dev/null 2>&1 &
  echo $! >"$HOME/kernel"
elif [ -e "$HOME/hang" ]; then
  setsid sleep 99.125 </dev/null >/dev/null 2>&1 & echo $! >"$HOME/apart"
  echo $$ >"$HOME/build"
  sleep 99.125
fi`)

// number reads what withKernel has written, or returns 0.
func (h *house) number(name string) int {
	data, _ := os.ReadFile(filepath.Join(h.home, name))
	n, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	return n
}

// kernel returns the child of withKernel, which ends with the test.
func (h *house) kernel() int {
	h.t.Helper()
	pid := h.number("kernel")
	if !proc.Runs(pid) {
		h.t.Fatalf("there is no kernel: %d", pid)
	}
	h.t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	return pid
}

func (h *house) hang() { write(h, filepath.Join(h.home, "hang"), "") }

// hung returns the processes of a build that hangs, once it is another than before.
func (h *house) hung(before []int) (pids []int) {
	h.t.Helper()
	h.eventually(time.Minute, "a build hangs", func() bool {
		pids = []int{h.number("apart"), h.number("build")}
		return !slices.ContainsFunc(pids, func(pid int) bool { return slices.Contains(before, pid) || !proc.Runs(pid) })
	})
	return pids
}

// outlived fails unless all of a build is gone, and the kernel is there, with its environment if a daemon answers.
func (h *house) outlived(what string, build []int, kernel int, id string) {
	h.t.Helper()
	h.eventually(20*time.Second, what+": nothing is left of the build", func() bool {
		return !slices.ContainsFunc(build, proc.Runs)
	})
	if !proc.Runs(kernel) {
		h.t.Fatalf("%s: the kernel is gone", what)
	}
	list, err := ask[rpc.EnvListResult](h, rpc.MethodEnvList, rpc.EnvListParams{State: new(rpc.EnvLeased)})
	if err == nil && (len(list.Envs) != 1 || list.Envs[0].ID != id || !list.Envs[0].Lease.Alive) {
		h.t.Errorf("%s: leased: %+v", what, list)
	}
}

func TestKernelsOutliveTheServiceAndBuildsDoNot(t *testing.T) {
	t.Parallel()
	if !underSystemd(t) {
		return
	}
	h := serviceHouse(t, withKernel)
	runt(t, 0, "service", "install")
	h.filled("k", time.Minute)
	kernel := h.kernel()
	group, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", kernel))
	if err != nil || !bytes.Contains(group, []byte("/runtimed.service\n")) {
		t.Fatalf("the kernel is not among the service's processes: %v\n%s", err, group)
	}
	h.hang()
	id := h.acquire(rpc.AcquireParams{Pool: new("k"), OwnerPID: new(kernel)}).Env.ID

	build, daemon := h.hung(nil), h.serviceDaemon(0)
	systemctl(t, "kill", "--kill-whom=main", "--signal=KILL", "runtimed.service")
	daemon = h.serviceDaemon(daemon)
	h.outlived("killed", build, kernel, id)

	build = h.hung(build)
	runt(t, 0, "service", "restart")
	daemon = h.serviceDaemon(daemon)
	h.outlived("restarted", build, kernel, id)

	build = h.hung(build)
	runt(t, 0, "service", "stop")
	// If it had waited for the kernel, the result would be "timeout".
	const stopped = "Result=success\nActiveState=inactive"
	if got := systemctl(t, "show", "--property=ActiveState,Result", "runtimed.service"); got != stopped {
		t.Errorf("after a stop: %s", got)
	}
	h.outlived("stopped", build, kernel, id)

	check(t, os.Remove(filepath.Join(h.home, "hang")))
	runt(t, 0, "service", "start")
	h.serviceDaemon(daemon)
	h.outlived("started again", nil, kernel, id)
	_, errs := runt(t, failure.Failed, "service", "uninstall", "--purge")
	says(t, errs, id)
	h.outlived("not purged", nil, kernel, id)
	runt(t, 0, "service", "uninstall")
	h.outlived("uninstalled", nil, kernel, id)
}

// inTerminal runs a command in a terminal of its own until it says that it is ready, and hangs up at the end of stdin.
// It prints which signal ended the command.
const inTerminal = `import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
said = b""
while b"ready" not in said:
    said += os.read(terminal, 4096)
print(said.decode(), flush=True)
sys.stdin.read()
os.close(terminal)
print(os.WTERMSIG(os.waitpid(pid, 0)[1]), flush=True)`

func TestADaemonThatACommandStartedAndItsKernelsOutliveTheTerminal(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(withKernel)
	h.configure(quickly + "1\n")
	h.hang()
	t.Cleanup(func() { h.runt("daemon", "stop") })
	terminal := exec.Command("python3", "-c", inTerminal, "sh", "-c",
		`"$0" pool acquire --wait 60s --owner-pid "$1" >/dev/null && echo ready; exec cat`,
		runtProgram, fmt.Sprint(os.Getpid()))
	terminal.Env, terminal.Dir = h.env, h.home
	in, err := terminal.StdinPipe()
	check(t, err)
	pipe, err := terminal.StdoutPipe()
	check(t, err)
	check(t, terminal.Start())
	out := bufio.NewScanner(pipe)
	if out.Scan(); !strings.Contains(out.Text(), "ready") {
		t.Fatalf("the terminal says %q", out.Text())
	}

	build, kernel := h.hung(nil), h.kernel()
	daemon := must[rpc.Info](h, rpc.MethodInfo, nil).PID
	if session, err := unix.Getsid(daemon); err != nil || session != daemon {
		t.Errorf("the daemon is in session %d: %v", session, err)
	}
	check(t, in.Close())
	for out.Scan() && out.Text() == "" {
	}
	if got := out.Text(); got != fmt.Sprint(int(syscall.SIGHUP)) {
		t.Errorf("signal %s ended what the terminal ran", got)
	}
	check(t, terminal.Wait())
	now := must[rpc.Info](h, rpc.MethodInfo, nil).PID
	if now != daemon || !proc.Runs(build[0]) || !proc.Runs(build[1]) {
		t.Errorf("daemon %d, before %d; build %v", now, daemon, build)
	}
	id := h.ids(rpc.EnvLeased)[0]
	h.outlived("hung up", nil, kernel, id)

	h.runt("daemon", "restart")
	h.outlived("restarted", build, kernel, id)
	build = h.hung(build)
	check(t, syscall.Kill(must[rpc.Info](h, rpc.MethodInfo, nil).PID, syscall.SIGKILL))
	h.runt("daemon", "start")
	h.outlived("killed", build, kernel, id)
	build = h.hung(build)
	h.runt("daemon", "stop")
	h.outlived("stopped", build, kernel, id)
}
