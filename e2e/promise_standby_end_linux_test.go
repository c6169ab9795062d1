//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"runtimed/rpc"
)

// start starts a kernel, which must be a standby's or a plain one, and returns its own pid.
func (s *warmKernels) start(standby bool, more step) (runt told, kernel int) {
	s.t.Helper()
	k := step{"kernel": "warm"}
	for name, value := range more {
		k[name] = value
	}
	runt = s.do("start", k)
	return runt, s.kernel(standby)
}

// kernel is the pid of the kernel that runs.
func (s *warmKernels) kernel(standby bool) int {
	s.t.Helper()
	var pid, parent int
	_, err := fmt.Sscan(s.cell("import os; print(os.getpid(), os.getppid())"), &pid, &parent)
	check(s.t, err)
	if is := parent == s.d.cmd.Process.Pid; is != standby {
		s.t.Errorf("the kernel %d has the parent %d, and the daemon is %d", pid, parent, s.d.cmd.Process.Pid)
	}
	return pid
}

func TestAKernelEndsForItsFrontEndAsAPlainOneDoes(t *testing.T) {
	t.Parallel()
	s := standbyHouse(t, 3)
	s.kernelspec("warm")
	for _, c := range []struct {
		what, cell string
		signal     syscall.Signal
	}{
		{"an exit of its own", "os._exit(3)", 0},
		{"a crash", "import ctypes; ctypes.string_at(0)", 0},
		{"exit()", "exit()", 0},
		{"SIGTERM", "", syscall.SIGTERM},
		{"SIGUSR1", "", syscall.SIGUSR1},
	} {
		s.stands()
		codes := []int{}
		runt, kernel := s.start(true, nil)
		for range 2 {
			if c.cell != "" {
				s.do("begin", step{"code": "import os; " + c.cell})
			} else {
				check(t, syscall.Kill(runt.PID, c.signal))
			}
			codes = append(codes, s.do("ended", nil).Code)
			s.gone(kernel, 10*time.Second)
			if len(codes) == 1 { // the next one is of the same session, and plain
				runt = s.do("restart", step{"now": true})
				kernel = s.kernel(false)
			}
		}
		if codes[0] != codes[1] {
			t.Errorf("after %s it is %d, and with a plain one %d", c.what, codes[0], codes[1])
		}
	}
}

func TestNothingIsLeftOfAKernelWhoseRuntIsKilledInNativeCode(t *testing.T) {
	t.Parallel()
	s := standbyHouse(t, 1)
	s.kernelspec("warm")
	s.stands()
	runt, kernel := s.start(true, nil)
	env := s.leases()[0]
	if env.Lease.OwnerPID != kernel || !env.Lease.Alive {
		t.Errorf("the lease is %+v", env.Lease)
	}
	at := filepath.Join(s.home, "child")
	s.do("begin", step{"code": "import ctypes, subprocess\nchild = subprocess.Popen(['sleep', '600']).pid\n" +
		"with open('" + at + "', 'w') as file:\n    file.write(f'{child} ')\n" +
		"ctypes.PyDLL(None).sleep(600)"}) // which keeps the GIL
	var child int
	s.eventually(10*time.Second, "the cell runs", func() bool {
		data, err := os.ReadFile(at)
		if err == nil && strings.HasSuffix(string(data), " ") {
			child, err = strconv.Atoi(strings.TrimSpace(string(data)))
		}
		return err == nil && child != 0
	})
	check(t, syscall.Kill(runt.PID, syscall.SIGKILL))
	s.gone(kernel, 2*time.Second)
	s.gone(child, 2*time.Second)
	if code := s.do("ended", nil).Code; code != -int(syscall.SIGKILL) {
		t.Errorf("runt ends with %d", code)
	}
	must[rpc.None](s.house, rpc.MethodRelease, rpc.EnvParams{Env: env.ID}) // its session would keep it for a minute
	s.eventually(10*time.Second, "its environment goes", func() bool { return !isThere(env.Path) })
}

func TestAKernelOutlivesItsDaemonAndTheNextOneKeepsItsLease(t *testing.T) {
	t.Parallel()
	s := standbyHouse(t, 2)
	s.kernelspec("warm")
	s.stands()
	_, kernel := s.start(true, nil)
	env := s.leases()[0]
	s.cell("x = 41")
	s.stands()
	unused := s.standbys(s.d.cmd.Process.Pid, kernel)
	if len(unused) == 0 {
		t.Fatal("no standby is unused")
	}
	s.d.kill()
	for _, pid := range unused {
		s.gone(pid, 5*time.Second)
	}
	if said := s.cell("print(x + 1)"); said != "42\n" {
		t.Errorf("without a daemon it says %q", said)
	}
	s.d = s.house.start()
	s.filled("uv", time.Minute)
	if l := s.leases(); len(l) != 1 || l[0].ID != env.ID || l[0].Lease.OwnerPID != kernel || !l[0].Lease.Alive {
		t.Errorf("leased are %+v", l)
	}
	must[rpc.GCResult](s.house, rpc.MethodGC, nil)
	if said := s.cell("import colorsys; print(x + 1)"); said != "42\n" {
		t.Errorf("beside the next daemon it says %q", said)
	}
	if end := s.do("shutdown", nil); end.Code != 0 || end.Seconds > 20 {
		t.Errorf("its end: %+v", end)
	}
	s.gone(kernel, time.Second)
	s.eventually(10*time.Second, "its environment goes", func() bool { return !isThere(env.Path) })
	s.stands()
	s.start(true, nil)
}

// standbys are the processes that a daemon has as children, except one.
func (s *warmKernels) standbys(daemon, but int) (pids []int) {
	s.t.Helper()
	out, err := exec.Command("ps", "-o", "pid=,args=", "--ppid", strconv.Itoa(daemon)).Output()
	check(s.t, err)
	for line := range strings.Lines(string(out)) {
		var pid int
		if _, err := fmt.Sscan(line, &pid); err == nil && pid != but && strings.Contains(line, "runtimed-standby") {
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestAShutdownGivesTheEnvironmentBackAtOnceAndARestartKeepsIt(t *testing.T) {
	t.Parallel()
	s := standbyHouse(t, 2)
	s.kernelspec("warm")
	s.kernelspec("plain", "--no-standby")
	for _, kind := range []string{"warm", "plain"} {
		s.stands()
		s.start(kind == "warm", step{"kernel": kind})
		env := s.leases()[0]
		s.do("shutdown", step{"restart": true})
		s.eventually(10*time.Second, "its end is seen", func() bool { return !s.leases()[0].Lease.Alive })
		if l := s.leases()[0]; l.ID != env.ID || l.Lease.KeptUntil == nil ||
			time.Until(*l.Lease.KeptUntil) > time.Minute || time.Until(*l.Lease.KeptUntil) < 0 {
			t.Errorf("%s: after a shutdown that begins a restart: %+v", kind, l.Lease)
		}
		s.do("restart", nil)
		s.do("shutdown", nil)
		if l := s.leases(); len(l) != 0 {
			t.Errorf("%s: after a shutdown the lease is %+v", kind, l[0].Lease)
		}
	}
}

func TestAnUnusedStandbyCostsNoTimeAndLetsNobodyElseIn(t *testing.T) {
	t.Parallel()
	s := standbyHouse(t, 1)
	s.stands()
	pids := s.standbys(s.d.cmd.Process.Pid, 0)
	if len(pids) != 1 {
		t.Fatalf("the standbys are %v", pids)
	}
	spent := func() (ticks int) {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pids[0]))
		check(t, err)
		fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')'):]))
		for _, n := range fields[12:14] { // utime and stime of proc(5)
			i, err := strconv.Atoi(n)
			check(t, err)
			ticks += i
		}
		return ticks
	}
	time.Sleep(time.Second) // after its start
	before := spent()
	time.Sleep(3 * time.Second)
	if now := spent(); now > before+1 {
		t.Errorf("it has spent %d ticks in 3 s", now-before)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pids[0]))
	check(t, err)
	if !strings.Contains(string(status), "Threads:\t1\n") {
		t.Errorf("it has several threads: %s", status)
	}
	sockets, err := filepath.Glob(s.state("k*"))
	check(t, err)
	if len(sockets) != 1 {
		t.Fatalf("the sockets are %v", sockets)
	}
	if info, err := os.Stat(sockets[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if os.Getuid() != 0 {
		lacking(t, "only root can be another user")
	}
	for dir := filepath.Dir(sockets[0]); dir != "/tmp"; dir = filepath.Dir(dir) {
		check(t, os.Chmod(dir, 0o755)) // even so
	}
	cmd := exec.Command("/usr/bin/python3", "-c", `import socket, sys
s = socket.socket(socket.AF_UNIX)
try:
    s.connect(sys.argv[1])
except PermissionError:
    print("refused")`, sockets[0])
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := cmd.Output(); err != nil || string(out) != "refused\n" {
		t.Errorf("another user: %q, %v", out, err)
	}
}

func TestAModuleThatHangsOnImportCostsOnlyTheStandby(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withUV()
	h.wheelWith("hangs", "import ctypes\nctypes.PyDLL(None).sleep(600)\n")
	h.setenv("UV_FIND_LINKS", h.home)
	config := strings.Replace(fmt.Sprintf(kernelOnly, 1), `"ipykernel"`, `"ipykernel", "hangs"`, 1)
	h.configure(config + "preload = [\"json\", \"hangs\"]\n")
	s := &warmKernels{d: h.start(), jupyter: h.jupyter()}
	h.filled("uv", 3*time.Minute)
	pids := s.standbys(s.d.cmd.Process.Pid, 0)
	if len(pids) != 1 || s.pool("uv").Error != nil {
		t.Fatalf("the standbys are %v, the pool %+v", pids, s.pool("uv"))
	}
	s.kernelspec("warm")
	s.start(false, nil)
	s.filled("uv", time.Minute)
	pids = s.standbys(s.d.cmd.Process.Pid, 0)
	s.d.kill()
	for _, pid := range pids {
		s.gone(pid, 2*time.Second)
	}
}
