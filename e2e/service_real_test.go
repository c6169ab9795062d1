//go:build e2e && unix

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"runtimed/internal/failure"
	"runtimed/rpc"
	"runtimed/service"
)

func TestAServiceFromInstallToPurge(t *testing.T) {
	t.Parallel()
	if !underSystemd(t) {
		return
	}
	home := os.Getenv("HOME")
	configFile := filepath.Join(home, ".config", "runt", "config.toml")
	write := func(text string) {
		t.Helper()
		check(t, os.MkdirAll(filepath.Dir(configFile), 0o700))
		check(t, os.WriteFile(configFile, []byte(text), 0o600))
	}
	pool := "[pools.k]\nkind = \"uv\"\nsize = 1\npackages = [\"ipykernel\"]\n"
	if uv, err := exec.LookPath("uv"); err == nil { // a service has not the PATH of this process
		pool += "[uv]\npath = " + strconv.Quote(uv) + "\n"
	}
	write(pool)

	// Started by hand before, it is stopped for the service.
	runt(t, 0, "daemon", "start")
	byHand := runtJSON[rpc.Info](t, "daemon", "info")
	_, errs := runt(t, 0, "service", "install", "--on-demand")
	says(t, errs, fmt.Sprintf("stop the daemon (pid %d) that no service runs", byHand.PID))
	says(t, errs, "the programs lie in a folder for temporary files")
	if st := runtJSON[service.Status](t, "service", "status"); st.Running || !st.Socket.Listening || !st.OnDemand ||
		!st.UpToDate {
		t.Fatalf("on demand, before anybody asks: %+v", st)
	}

	// The first who asks activates it.
	out, _ := runt(t, 0, "pool", "status")
	says(t, out, "Pool Daemon Status")
	info := runtJSON[rpc.Info](t, "daemon", "info")
	if info.StartedBy != rpc.StartedByService || info.Log != rpc.LogJournal ||
		!strings.HasPrefix(info.Program, os.Getenv("HOME")) {
		t.Errorf("it was started another way: %+v", info)
	}
	out, _ = runt(t, 0, "service", "install", "--on-demand")
	says(t, out, "already installed")
	out, _ = runt(t, 0, "service", "install")
	says(t, out, fmt.Sprintf("installed: the daemon runs (pid %d), and starts at every login", info.PID))
	out, _ = runt(t, 0, "service", "install")
	says(t, out, "nothing was changed")
	if got := systemctl(t, "is-enabled", "runtimed.service", "runtimed.socket"); got != "enabled\nenabled" {
		t.Errorf("enabled: %q", got)
	}

	// The kernel in its environment goes on through restarts and crashes, and the lease stands.
	got := runtJSON[rpc.AcquireResult](t, "pool", "acquire", "--pool", "k", "--wait", "5m", "--owner-pid",
		fmt.Sprint(os.Getpid()))
	kernel := hold(t, got.Env.Python)
	kernel.runs("x = 1")
	began, before := time.Now(), runtJSON[rpc.Info](t, "daemon", "info").PID
	for _, args := range [][]string{{"service", "restart"}, {"daemon", "restart"}} {
		runt(t, 0, args...)
		now := runtJSON[rpc.Info](t, "daemon", "info").PID
		if now == before {
			t.Error("it is the daemon of before")
		}
		before = now
	}
	systemctl(t, "kill", "--signal=KILL", "runtimed.service")
	now := before
	for end := time.Now().Add(time.Minute); now == before; now = runtJSON[rpc.Info](t, "daemon", "info").PID {
		if time.Now().After(end) {
			t.Fatal("a daemon that was killed is not started again")
		}
	}
	kernel.runs("assert x == 1")
	leased := runtJSON[rpc.EnvListResult](t, "env", "list", "--state", "leased")
	if len(leased.Envs) != 1 || leased.Envs[0].ID != got.Env.ID || !leased.Envs[0].Lease.Alive {
		t.Errorf("leased: %+v", leased)
	}

	// The journal has each line once, with its level and its time; also that of a process that was gone before its unit
	// was asked for.
	orphan := fmt.Sprintf("nobody knows the unit of %d", os.Getpid())
	if said, err := exec.Command("systemd-cat", "--identifier=runtimed", "echo", orphan).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	out = runtSays(t, 0, []string{"daemon", "logs", "-n", "100", "--since", began.Format(time.RFC3339)},
		fmt.Sprintf("pid=%d ", now), "started_by=service", "INFO  listening socket=", orphan)
	if strings.Contains(out, `"level"`) {
		t.Error("there is JSON in the journal")
	}
	// else systemd had to kill one, or a line came twice
	if n := strings.Count(out, " INFO  stopped\n") + strings.Count(out, " stopping took too long"); n != 2 {
		t.Errorf("of 2 that were restarted %d have stopped by themselves", n)
	}

	// A configuration that is wrong does not stop a daemon that works; one that cannot start at all says why, and its
	// socket stays.
	write("size = 3\n")
	for _, args := range [][]string{{"service", "restart"}, {"daemon", "restart"}, {"service", "install"}} {
		_, errs = runt(t, failure.Failed, args...)
		says(t, errs, "config.toml:1: size: unknown key")
	}
	runt(t, 0, "pool", "status")
	systemctl(t, "restart", "runtimed.service")
	for range 3 { // each asks several times
		runtSays(t, failure.Unreachable, []string{"pool", "status"}, "config.toml:1: size: unknown key")
	}
	runtSays(t, failure.Failed, []string{"service", "start"}, "config.toml:1: size: unknown key")
	if got := systemctl(t, "is-active", "runtimed.socket"); got != "active" {
		t.Errorf("the socket is %s", got)
	}
	write(pool)
	runt(t, 0, "pool", "status")

	// Stopped it stays stopped, whoever asks.
	out, _ = runt(t, 0, "service", "stop")
	says(t, out, "stopped")
	runtSays(t, failure.Unreachable, []string{"pool", "status"}, "runt: hint: start it with: runt service start;")
	runt(t, failure.Unreachable, "daemon", "info")
	out, _ = runt(t, 0, "service", "stop")
	says(t, out, "not running")
	out, _ = runt(t, 0, "daemon", "stop")
	says(t, out, "not running")
	out, _ = runt(t, 0, "daemon", "start")
	says(t, out, "started by its service")
	out, _ = runt(t, 0, "daemon", "stop")
	says(t, out, "stopped: pid")
	runt(t, failure.Unreachable, "pool", "status")
	out, _ = runt(t, 0, "daemon", "restart")
	says(t, out, "started by its service")

	// A runt elsewhere, of the same version, does not want the service to be installed again.
	elsewhere := t.TempDir()
	for _, name := range []string{"runt", "runtimed"} {
		data, err := os.ReadFile(filepath.Join(filepath.Dir(daemonProgram), name))
		check(t, err)
		check(t, os.WriteFile(filepath.Join(elsewhere, name), append(data, "of another build"...), 0o755))
	}
	told, _ := exec.Command(filepath.Join(elsewhere, "runt"), "doctor").Output() // 1 if an index cannot be reached
	says(t, string(told), "note     service")
	says(t, string(told), "it starts the daemon of another runt, of the same version")

	// A program that is gone is not started again and again, but for who asks.
	program := runtJSON[rpc.Info](t, "daemon", "info").Program
	check(t, os.Rename(program, program+"-gone"))
	systemctl(t, "kill", "--signal=KILL", "runtimed.service")
	for end := time.Now().Add(time.Minute); systemctl(t, "show", "--property=ActiveState", "--value",
		"runtimed.service") != "failed"; {
		if time.Now().After(end) {
			t.Fatal("it is tried for ever to start a program that is not there")
		}
		time.Sleep(50 * time.Millisecond)
	}
	runtSays(t, failure.Failed, []string{"doctor"}, "not running: its service has failed")
	runtSays(t, failure.Unreachable, []string{"pool", "status"}, "ends as soon as it is started")
	check(t, os.Rename(program+"-gone", program))
	runt(t, 0, "pool", "status")

	runt(t, 0, "service", "stop")
	runt(t, 0, "service", "start")
	out, _ = runt(t, 0, "service", "start")
	says(t, out, "already running")
	kernel.runs("assert x == 1")

	// While an environment is in use, nothing of it is purged.
	_, errs = runt(t, failure.Failed, "service", "uninstall", "--purge")
	says(t, errs, got.Env.ID)
	runt(t, 0, "service", "uninstall")
	check(t, os.Remove(configFile))
	state := filepath.Join(home, ".cache", "runt")
	for _, path := range filesAtHome(t) { // uv, pip and what they run may keep theirs
		ours := strings.Contains(path, "/runt/") || strings.Contains(path, "runtimed")
		if ours && !strings.HasPrefix(path, state+"/") {
			t.Errorf("left behind: %s", path)
		}
	}
	st := runtJSON[service.Status](t, "service", "status")
	if st.Installed || st.Enabled || st.Running || st.Socket.Installed || st.Socket.Listening {
		t.Errorf("uninstalled: %+v", st)
	}
	kernel.runs("assert x == 1")
	_, errs = runt(t, failure.Failed, "service", "uninstall", "--purge") // a daemon is started to ask it
	says(t, errs, got.Env.ID)
	runt(t, failure.Unreachable, "daemon", "info") // and not left running
	kernel.end()
	runt(t, 0, "daemon", "start")
	runt(t, 0, "pool", "release", got.Env.ID)
	runt(t, 0, "service", "uninstall", "--purge")
	if _, err := os.Stat(state); err == nil {
		t.Errorf("the state directory is left behind: %v", filesAtHome(t))
	}
	runt(t, 0, "service", "uninstall", "--purge")
	runt(t, failure.Unreachable, "daemon", "info")

	// What keeps a file from being written has nothing to do with the daemon's log.
	unit := filepath.Join(home, ".config/systemd/user/runtimed.service")
	check(t, os.Mkdir(unit, 0o700))
	_, errs = runt(t, failure.Failed, "service", "install")
	says(t, errs, unit+": it is not a file, so it is left alone\nrunt: hint: the place must be yours")
	runt(t, 0, "service", "uninstall")
	if err := os.Remove(unit); err != nil {
		t.Error(err)
	}
}
