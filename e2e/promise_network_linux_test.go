//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"runtimed/internal/statedir"
	"runtimed/rpc"
)

// machine is a machine of its own as far as files and processes go: it has a name, processes, mounts, /tmp, /run and
// /var/tmp of its own, and its own mount of the home that it shares with others.
type machine struct {
	*house
	name string
	init int // the number of the process that holds its namespaces
}

// asMachine makes it, in the shell. What is in the folder of the house and of the programs is seen in each.
const asMachine = `set -e
own=$1/$2 home=$1/home export=$1/export name=$2
shift 2
hostname "$name"
mkdir -p "$own/run" "$own/var" "$own/tmp"
chmod 1777 "$own/var" "$own/tmp"
for dir; do mkdir -p "$own$dir"; mount --rbind "$dir" "$own$dir"; done
mount --bind "$own/run" /run
mount --bind "$own/var" /var/tmp
mount --rbind "$own/tmp" /tmp
bindfs $BINDFS -o subtype=sshfs "$export" "$home"
echo ready
exec sleep infinity`

// networked makes machines whose one HOME is on a network file system. What is in the home of h stays in it.
func (h *house) networked(t *testing.T, names ...string) (list []*machine) {
	t.Helper()
	if _, err := exec.LookPath("bindfs"); err != nil {
		lacking(t, "bindfs is not installed")
	}
	dir := filepath.Dir(h.home)
	check(t, os.Rename(h.home, filepath.Join(dir, "export")))
	check(t, os.Mkdir(h.home, 0o755))
	for _, name := range names {
		cmd := exec.Command("unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc",
			"sh", "-c", asMachine, "sh", dir, name, dir)
		if bin := filepath.Dir(daemonProgram); strings.HasPrefix(bin, os.TempDir()+"/") {
			cmd.Args = append(cmd.Args, bin)
		}
		cmd.Env = h.env
		var said strings.Builder
		cmd.Stderr = &said
		out, err := cmd.StdoutPipe()
		check(t, err)
		check(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) // with all that runs there
		if line, _ := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
			lacking(t, "no machine of its own can be made here: "+said.String())
		}
		own := *h
		m := &machine{&own, name, cmd.Process.Pid}
		m.env = append(m.env[:len(m.env):len(m.env)], "NAME="+name)
		m.socket = m.path(statedir.LocalDir() + "/runtimed.sock")
		list = append(list, m)
		t.Cleanup(func() {
			if log, err := os.ReadFile(m.path(statedir.LocalDir() + "/runtimed.log")); err == nil && t.Failed() {
				t.Logf("the log on %s:\n%s", name, log)
			}
		})
	}
	return list
}

// path is how a file of the machine is reached from here.
func (m *machine) path(of string) string { return fmt.Sprintf("/proc/%d/root%s", m.init, of) }

// in is a command on the machine.
func (m *machine) in(argv ...string) *exec.Cmd {
	ns := fmt.Sprintf("/proc/%d/ns/", m.init)
	cmd := exec.Command("nsenter", append([]string{"--mount=" + ns + "mnt", "--uts=" + ns + "uts",
		"--pid=" + ns + "pid_for_children", "--wd=/"}, argv...)...)
	cmd.Env = m.env
	return cmd
}

// try is what runt says on the machine, and what it exits with.
func (m *machine) try(args ...string) (said string, code int) {
	cmd := m.in(append([]string{runtProgram}, args...)...)
	out, _ := cmd.CombinedOutput() // the exit code says it
	return string(out), cmd.ProcessState.ExitCode()
}

func (m *machine) runt(args ...string) string {
	m.t.Helper()
	said, code := m.try(args...)
	if code != 0 {
		m.t.Fatalf("on %s, runt %v: exit code %d: %s", m.name, args, code, said)
	}
	return said
}

func (m *machine) info() rpc.Info {
	m.t.Helper()
	return must[rpc.Info](m.house, rpc.MethodInfo, nil)
}

// kill ends the machine's daemon as the kernel does when memory runs out.
func (m *machine) kill() {
	m.t.Helper()
	check(m.t, m.in("kill", "-9", fmt.Sprint(m.info().PID)).Run())
	m.eventually(10*time.Second, "it is gone", func() bool {
		_, err := ask[rpc.Info](m.house, rpc.MethodInfo, nil)
		return rpc.KindOf(err) == rpc.KindUnreachable
	})
}

// doctor is what a check says on the machine.
func (m *machine) doctor(name string) string {
	m.t.Helper()
	out, _ := m.in(runtProgram, "doctor", "--json").Output() // it may find other things
	var told struct{ Checks []rpc.Check }
	check(m.t, json.Unmarshal(out, &told))
	var said []string
	for _, c := range told.Checks {
		if c.Name == name {
			said = append(said, c.Message)
		}
	}
	return strings.Join(said, "\n")
}

// gatedStandIn builds nothing on a machine while the file closed-NAME is in the home.
func (h *house) gatedStandIn() *house {
	h.t.Helper()
	return h.withStandIn(fmt.Sprintf("while [ -e '%s/closed-'$(hostname) ]; do sleep 0.02; done\n%s", h.home, fastUV))
}

func (m *machine) gate() string {
	return filepath.Join(filepath.Dir(m.home), "export", "closed-"+m.name)
}

func TestTwoMachinesWithOneHomeHaveADaemonEachAndLeaveTheOthersAlone(t *testing.T) {
	t.Parallel()
	h := newHouse(t).gatedStandIn()
	h.setenv("UV_CACHE_DIR", filepath.Join(h.home, ".cache/uv"))
	h.configure(quickly + "2\n")
	machines := h.networked(t, "ada", "bob")
	a, b := machines[0], machines[1]
	for _, m := range machines {
		m.runt("daemon", "start")
		m.filled("uv", time.Minute)
		if got := m.info().StateDir; got != statedir.LocalDir() {
			t.Errorf("%s keeps its state in %s", m.name, got)
		}
		if said := m.doctor("state-directory"); !strings.Contains(said, "network file system (fuse.sshfs)") {
			t.Errorf("the doctor of %s says: %s", m.name, said)
		}
		client := m.in("python3", "-c", "import os, runtimed_client as c; print(c.socket_path('linux', os.environ))")
		python, err := filepath.Abs("../clients/python/src")
		check(t, err)
		client.Env = append(client.Env, "PYTHONPATH="+python)
		if said, _ := client.CombinedOutput(); string(said) != statedir.LocalDir()+"/runtimed.sock\n" {
			t.Errorf("on %s, the Python client says %s", m.name, said)
		}
		if said := m.doctor("links"); !strings.Contains(said, "which is on a network") {
			t.Errorf("of uv's cache, the doctor of %s says: %s", m.name, said)
		}
		said, _ := m.try("service", "install", "--dry-run")
		if !strings.Contains(said, "ListenStream="+m.info().Socket) {
			t.Errorf("on %s, the units would be %s", m.name, said)
		}
		if said := m.runt("config", "show"); !strings.Contains(said, "default; "+statedir.LocalDir()) {
			t.Errorf("on %s, the configuration is %s", m.name, said)
		}
	}
	if isThere(filepath.Join(filepath.Dir(h.home), "export/.cache/runt")) {
		t.Error("something is kept in the home that both see")
	}

	// A kernel on the one, and all that ends or removes things on the other.
	kernel := a.in(runtProgram, "run", "sleep", "infinity")
	check(t, kernel.Start())
	t.Cleanup(func() { _ = kernel.Process.Kill(); _ = kernel.Wait() })
	a.eventually(20*time.Second, "it is leased", func() bool { return len(a.ids(rpc.EnvLeased)) == 1 })
	a.filled("uv", time.Minute)
	held, before := a.ids(rpc.EnvLeased)[0], a.info()
	if leased := b.ids(rpc.EnvLeased); len(leased) != 0 {
		t.Errorf("the other machine sees %v leased", leased)
	}
	check(t, os.WriteFile(a.gate(), nil, 0o600))
	must[rpc.FlushResult](a.house, rpc.MethodFlush, nil)
	a.eventually(20*time.Second, "it builds", func() bool { return a.pool("uv").Warming > 0 })
	warming := a.ids(rpc.EnvWarming)
	b.runt("env", "gc")
	b.runt("daemon", "restart")
	b.kill()
	b.runt("daemon", "start")
	b.filled("uv", time.Minute)
	b.runt("daemon", "stop")
	if said := b.runt("service", "uninstall", "--purge"); !strings.Contains(said, "is removed") {
		t.Errorf("a purge says %s", said)
	}
	if isThere(b.path(statedir.LocalDir())) {
		t.Error("the purge left something")
	}
	if said, code := b.try("daemon", "info"); code != 3 {
		t.Errorf("the stopped daemon: exit code %d: %s", code, said)
	}
	b.runt("daemon", "start") // meets nothing of the other's
	if logs := b.runt("daemon", "logs", "--json"); strings.Contains(logs, held) {
		t.Errorf("its log names what is the other's:\n%s", logs)
	}
	if after := a.info(); !after.StartedAt.Equal(before.StartedAt) {
		t.Error("the other daemon was replaced")
	}
	if now := a.ids(rpc.EnvWarming); strings.Join(now, " ") != strings.Join(warming, " ") {
		t.Errorf("it builds %v, and before %v", now, warming)
	}
	if err := whole(a.path(statedir.LocalDir() + "/envs/" + held)); err != nil {
		t.Errorf("the leased environment: %v", err)
	}
	check(t, os.Remove(a.gate()))
	a.filled("uv", time.Minute)
	b.filled("uv", time.Minute)
	a.kill()
	a.runt("daemon", "start")
	if leased := a.ids(rpc.EnvLeased); len(leased) != 1 || leased[0] != held {
		t.Errorf("after a kill, leased are %v, not %s", leased, held)
	}
}

func TestTwoDaemonsOnTwoMachinesNeverShareAFolder(t *testing.T) {
	t.Parallel()
	const locks = "--enable-lock-forwarding --multithreaded"
	for name, c := range map[string]struct{ variable, folder, option string }{
		"a cache_dir, and no lock reaches the other machine": {"RUNTIMED_CACHE_DIR", "state", ""},
		"a cache_dir, and locks do":                          {"RUNTIMED_CACHE_DIR", "state", locks},
		"a socket":                                           {"RUNTIMED_SOCKET", "s/s", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t).gatedStandIn()
			h.setenv("BINDFS", c.option)
			h.setenv(c.variable, filepath.Join(h.home, c.folder))
			h.share(t, strings.TrimSuffix(c.folder, "/s"), c.option == locks)
		})
	}
}

// share has two machines share a folder of their home, as h is configured.
func (h *house) share(t *testing.T, folder string, locks bool) {
	h.configure(quickly + "1\n")
	machines := h.networked(t, "ada", "bob")
	a, b := machines[0], machines[1]
	common := folder == "state" // else the state is each one's own
	if !common {
		a.socket, b.socket = a.path(h.home+"/s/s"), b.path(h.home+"/s/s")
	}
	check(t, os.WriteFile(a.gate(), nil, 0o600))
	a.runt("daemon", "start")
	a.eventually(20*time.Second, "it builds", func() bool { return a.pool("uv").Warming > 0 })
	warming := a.ids(rpc.EnvWarming)
	if said, code := b.try("daemon", "start"); code == 0 || !strings.Contains(said, "on another machine (ada) uses ") {
		t.Errorf("the second daemon: exit code %d: %s", code, said)
	}
	if said, code := b.try("service", "uninstall", "--purge"); common && !strings.Contains(said, "(ada) uses ") {
		t.Errorf("a purge: exit code %d: %s", code, said)
	}
	if now := a.ids(rpc.EnvWarming); len(now) != 1 || now[0] != warming[0] {
		t.Errorf("it builds %v, and before %v", now, warming)
	}
	check(t, os.Remove(a.gate()))
	a.filled("uv", time.Minute)
	kernel := a.in(runtProgram, "run", "sleep", "infinity")
	check(t, kernel.Start())
	t.Cleanup(func() { _ = kernel.Process.Kill(); _ = kernel.Wait() })
	a.eventually(20*time.Second, "it is leased", func() bool { return len(a.ids(rpc.EnvLeased)) == 1 })
	a.filled("uv", time.Minute)
	ready, leased := a.ids(rpc.EnvReady), a.ids(rpc.EnvLeased)
	pid, log := fmt.Sprint(a.info().PID), a.path(a.info().Log)
	if locks {
		a.kill()
	} else {
		check(t, a.in("kill", "-STOP", pid).Run()) // as on a laptop that sleeps
	}
	b.runt("daemon", "start") // a dead one is told by its silence
	if now := b.ids(rpc.EnvReady); common && (len(now) != 1 || now[0] != ready[0]) {
		t.Errorf("of %v, %v are ready on the other machine", ready, now)
	}
	b.runt("env", "gc")
	if now := b.ids(rpc.EnvLeased); common && (len(now) != 1 || now[0] != leased[0]) {
		t.Errorf("of %v, %v are leased, as the other machine sees it", leased, now)
	}
	if !locks {
		check(t, a.in("kill", "-CONT", pid).Run())
		a.eventually(20*time.Second, "the one that was taken for dead gives way", func() bool {
			text, err := os.ReadFile(log)
			check(t, err)
			_, after, dead := strings.Cut(string(text), "this daemon was taken for dead")
			return dead && strings.Contains(after, `"msg":"stopped"`)
		})
		b.filled("uv", time.Minute)
	}
	b.runt("daemon", "stop")
	if isThere(filepath.Join(filepath.Dir(h.home), "export", folder, "daemon.host")) {
		t.Error("a clean stop left the file that keeps others out")
	}
}

func TestADaemonOfBeforeOnTheNetworkIsNamedAndLeftAlone(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(fastUV)
	h.configure(quickly + "1\n")
	m := h.networked(t, "ada")[0]
	usual := filepath.Join(h.home, ".cache/runt")
	then := *m.house
	before := machine{&then, m.name, m.init}
	before.env = append(m.env[:len(m.env):len(m.env)], "RUNTIMED_SOCKET="+usual+"/runtimed.sock",
		"RUNTIMED_CACHE_DIR="+usual)
	before.socket = m.path(usual + "/runtimed.sock")
	before.runt("daemon", "start")
	before.filled("uv", time.Minute)
	was := before.info()
	m.runt("daemon", "start")
	m.filled("uv", time.Minute)
	want := fmt.Sprintf("a daemon of before (pid %d) listens on %s/runtimed.sock", was.PID, usual)
	if said := m.doctor("state-directory"); !strings.Contains(said, want) {
		t.Errorf("the doctor says: %s", said)
	}
	m.runt("daemon", "restart")
	if now := before.info(); now.PID != was.PID {
		t.Errorf("pid %d answers there, not %d", now.PID, was.PID)
	}
	env := filepath.Join(usual, "envs", before.ids(rpc.EnvReady)[0])
	before.runt("daemon", "stop")
	m.runt("daemon", "stop")
	m.runt("service", "uninstall", "--purge")
	if err := whole(m.path(env)); err != nil {
		t.Errorf("what was there is not whole any more: %v", err)
	}
	if said := m.doctor("state-directory"); !strings.Contains(said, usual+" is left from before") {
		t.Errorf("the doctor says: %s", said)
	}
}

func TestWithoutAFitVarTmpTheStateIsInTheHomeOnTheNetwork(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure(off)
	m := h.networked(t, "ada")[0]
	usual := filepath.Join(h.home, ".cache/runt")
	for _, unfit := range []string{
		"mount -o remount,bind,ro /var/tmp",
		"mount -o remount,bind,rw,noexec /var/tmp",
		"mount -o remount,bind,rw /var/tmp; chmod 777 /var/tmp",
		"chmod 1777 /var/tmp; mkdir -p /tmp/t; chmod 1777 /tmp/t; bindfs -o subtype=sshfs /tmp/t /var/tmp",
		"mount -t tmpfs tmpfs /var",
	} {
		if out, err := m.in("sh", "-ec", unfit).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", unfit, err, out)
		}
		m.socket = m.path(usual + "/runtimed.sock")
		m.runt("daemon", "start")
		if got := m.info().StateDir; got != usual {
			t.Errorf("after %s, the state is in %s", unfit, got)
		}
		m.runt("daemon", "stop")
	}
}

func TestWhatSomebodyElseHasPutInVarTmpIsNeverUsed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure(off)
	m := h.networked(t, "ada")[0]
	dir := statedir.LocalDir()
	for how, c := range map[string]struct{ made, says string }{
		"another user's folder": {"mkdir -p $D/tools && chown -R 1 $D && chmod 777 $D", "belongs to uid 1"},
		"another user's link":   {"mkdir -p /tmp/x && ln -s /tmp/x $D && chown -h 1 $D", "belongs to uid 1"},
		"a link of one's own":   {"mkdir -p /tmp/x && ln -s /tmp/x $D", "is not a folder"},
		"an open folder":        {"mkdir -p $D && chmod 755 $D", "run chmod 700"},
	} {
		made := m.in("sh", "-ec", strings.ReplaceAll(c.made, "$D", dir)+"; find "+dir+"/ /tmp/x/ | sort")
		before, _ := made.Output() // one of them may be missing
		for _, args := range [][]string{{"daemon", "start"}, {"run", "true"}, {"status"}, {"daemon", "logs"},
			{"service", "uninstall", "--purge"}, {"doctor"}} {
			if said, code := m.try(args...); code == 0 || !strings.Contains(said, c.says) {
				t.Errorf("%s, runt %v: exit code %d: %s", how, args, code, said)
			}
		}
		after, _ := m.in("sh", "-c", "find "+dir+"/ /tmp/x/ | sort").Output()
		if string(before) != string(after) {
			t.Errorf("%s: before it had %s, and after %s", how, before, after)
		}
		check(t, m.in("rm", "-r", dir).Run())
	}
	m.runt("daemon", "start")
}

func TestTheAgeingOfVarTmpLeavesARunningDaemonsFilesAlone(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("systemd-tmpfiles"); err != nil {
		lacking(t, "systemd-tmpfiles is not installed")
	}
	h := newHouse(t).withStandIn(fastUV)
	h.configure(quickly + "1\n")
	h.write("all.conf", "d /var/tmp 1777 root root 0\n") // everything is too old
	m := h.networked(t, "ada")[0]
	m.runt("daemon", "start")
	m.filled("uv", time.Minute)
	list := func() string {
		out, err := m.in("sh", "-ec", "mkdir -p /var/tmp/other; touch /var/tmp/other/file; "+
			"systemd-tmpfiles --clean "+h.home+"/all.conf; find /var/tmp").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	id := m.ids(rpc.EnvReady)[0]
	left := list()
	for _, kept := range []string{"/envs/" + id + "/lib/", "/locks/", "/daemon.lock", "/tools/"} {
		if !strings.Contains(left, kept) || strings.Contains(left, "/other/file") {
			t.Errorf("while the daemon runs, there are, without %s\n%s", kept, left)
		}
	}
	m.runt("daemon", "stop")
	if left := list(); strings.Contains(left, "/envs/"+id+"/lib/") {
		t.Errorf("without a daemon, there are still\n%s", left)
	}
	m.runt("daemon", "start")
	m.filled("uv", time.Minute)
	if now := m.ids(rpc.EnvReady); len(now) != 1 || now[0] == id {
		t.Errorf("%v are ready", now)
	}
}
