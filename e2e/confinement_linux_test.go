//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"runtimed/rpc"
)

// serviceHouse is the house of this user, whose daemon `runt service` has systemd start. A script stands in for uv.
func serviceHouse(t *testing.T, script string) *house {
	t.Helper()
	home := os.Getenv("HOME")
	h := &house{t: t, home: home, socket: filepath.Join(home, ".cache/runt/runtimed.sock")}
	h.withStandIn(script)
	h.configure(fmt.Sprintf("[build]\nparallel = 2\nmin_free = \"1MB\"\n[uv]\npath = %q\n"+
		"[pools.k]\nkind = \"uv\"\nsize = 1\npackages = [\"ipykernel\"]\n", filepath.Join(home, "standin", "uv")))
	t.Cleanup(func() { runt(t, 0, "service", "uninstall") })
	return h
}

// serviceDaemon returns the daemon's pid once another than before answers.
func (h *house) serviceDaemon(before int) (pid int) {
	h.t.Helper()
	h.eventually(time.Minute, "the service's daemon answers", func() bool {
		info, err := ask[rpc.Info](h, rpc.MethodInfo, nil)
		pid = info.PID
		return err == nil && pid != before
	})
	return pid
}

func TestTheServiceGivesItsDaemonWhatASessionHas(t *testing.T) {
	t.Parallel()
	if !underSystemd(t) {
		return
	}
	const inherited = `umask; cat /proc/self/limits; grep ^Sig[IB] /proc/self/status`
	h := serviceHouse(t, at(stepVenv, "("+inherited+`) >"$HOME/inherited"`))
	unit := filepath.Join(h.home, ".config/systemd/user/runtimed.service")
	session := confinement(t, os.Getpid())
	session["oom_score_adj"] = "0" // as login leaves it; what started this test may have raised its own

	// An older service confined it.
	runt(t, 0, "service", "install")
	text, err := os.ReadFile(unit)
	check(t, err)
	write(h, unit, strings.NewReplacer("KillMode=process", "KillMode=mixed", "TasksMax=infinity", "TasksMax=2048",
		"OOMScoreAdjust=0", "OOMScoreAdjust=200\nNice=5\nIOSchedulingClass=best-effort\nIOSchedulingPriority=7\n"+
			"LimitNPROC=1000\nNoNewPrivileges=yes\nRestrictRealtime=yes").Replace(string(text)))
	before := h.serviceDaemon(0)
	systemctl(t, "daemon-reload")
	systemctl(t, "restart", "runtimed.service")
	before = h.serviceDaemon(before)
	confined := confinement(t, before)
	for _, name := range []string{"nice", "disk", "oom_score_adj", "Max processes", "NoNewPrivs", "Seccomp"} {
		if confined[name] == session[name] {
			t.Errorf("%s is %s, as in a session", name, confined[name])
		}
	}

	runt(t, 0, "service", "install")
	daemon := h.serviceDaemon(before)
	if diff := cmp.Diff(session, confinement(t, daemon)); diff != "" {
		t.Errorf("what a session has (-) and what the daemon has (+):\n%s", diff)
	}
	if got := systemctl(t, "show", "--property=KillMode,TasksMax,OOMPolicy", "runtimed.service"); got !=
		"OOMPolicy=continue\nTasksMax=infinity\nKillMode=process" {
		t.Errorf("the unit has %s", got)
	}

	// Nor does the daemon change what its children inherit: umask, limits and signals.
	check(t, os.RemoveAll(filepath.Join(h.home, "inherited")))
	h.acquire(rpc.AcquireParams{Pool: new("k"), OwnerPID: new(os.Getpid())})
	h.filled("k", time.Minute)
	got, err := os.ReadFile(filepath.Join(h.home, "inherited"))
	check(t, err)
	want, err := exec.Command("systemd-run", "--user", "--quiet", "--pipe", "--wait", "--property=IgnoreSIGPIPE=no",
		"sh", "-c", inherited).Output()
	check(t, err)
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("what systemd's own child has (-) and the daemon's (+):\n%s", diff)
	}
}

// confinement is what a process passes on to its children, by its name, where they cannot undo it.
func confinement(t *testing.T, pid int) map[string]string {
	t.Helper()
	has := map[string]string{}
	dir := fmt.Sprintf("/proc/%d/", pid)
	read := func(name string) string {
		t.Helper()
		data, err := os.ReadFile(dir + name)
		check(t, err)
		return string(data)
	}
	for line := range strings.Lines(read("status")) {
		name, value, _ := strings.Cut(line, ":")
		if strings.HasPrefix(name, "Cap") ||
			slices.Contains([]string{"NoNewPrivs", "Seccomp", "Umask", "Cpus_allowed", "Mems_allowed"}, name) {
			has[name] = strings.TrimSpace(value)
		}
	}
	for line := range strings.Lines(read("limits")) {
		name := strings.TrimSpace(line[:len("Max file size             ")])
		has[name] = strings.Join(strings.Fields(line[len("Max file size             "):]), " ")
	}
	delete(has, "Max open files") // Go raises the soft one for itself
	for _, name := range []string{"oom_score_adj", "personality", "coredump_filter"} {
		has[name] = strings.TrimSpace(read(name))
	}
	// A thread may have lowered itself, so the highest counts.
	const whoProcess = 1 // of ioprio_get(2)
	threads, err := os.ReadDir(dir + "task")
	check(t, err)
	highest := 0
	for _, thread := range threads {
		tid, err := strconv.Atoi(thread.Name())
		check(t, err)
		disk, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, whoProcess, uintptr(tid), 0) // lowered after the other
		priority, err := unix.Getpriority(unix.PRIO_PROCESS, tid)
		if err == nil && errno == 0 && priority > highest { // else the thread has ended
			highest, has["nice"], has["disk"] = priority, strconv.Itoa(20-priority), strconv.Itoa(int(disk))
		}
	}
	return has
}
