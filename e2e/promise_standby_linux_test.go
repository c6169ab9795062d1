//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// warmKernels is a front-end beside a daemon that has a standby kernel.
type warmKernels struct {
	*jupyter
	d *lodger
}

const kernelOnly = "[pools.uv]\nsize = %d\npackages = [\"ipykernel\"]\n"

// standbyHouse has a front-end and a daemon that keeps n environments and one standby kernel.
func standbyHouse(t *testing.T, n int) *warmKernels {
	t.Helper()
	h := newHouse(t).withUV()
	h.setenv("RUNTIMED_LOG_LEVEL", "debug")
	h.setenv("LANG", "C.UTF-8")
	h.configure(fmt.Sprintf(kernelOnly, n))
	s := &warmKernels{d: h.start(), jupyter: h.jupyter()}
	h.filled("uv", 3*time.Minute)
	return s
}

// stands waits until a standby is ready.
func (s *warmKernels) stands() {
	s.t.Helper()
	s.eventually(time.Minute, "a standby kernel is ready", func() bool { return s.pool("uv").Standby.Ready > 0 })
}

// wrapped writes a kernelspec that starts runt kernel by other programs.
func (s *warmKernels) wrapped(name string, prefix []string, args ...string) {
	s.t.Helper()
	s.kernelspec(name, args...)
	path := filepath.Join(s.home, ".local/share/jupyter/kernels", name, "kernel.json")
	var spec map[string]any
	data, err := os.ReadFile(path)
	check(s.t, err)
	check(s.t, json.Unmarshal(data, &spec))
	for i, word := range prefix {
		spec["argv"] = slices.Insert(spec["argv"].([]any), i, any(word))
	}
	data, err = json.Marshal(spec)
	check(s.t, err)
	check(s.t, os.WriteFile(path, data, 0o644))
}

// place prints what a program has from the one that started it.
const place = `
import json, os, resource, subprocess, sys
def place():
    status = dict(l.rstrip("\n").split(":\t", 1) for l in open("/proc/self/status") if ":\t" in l)
    names = ["Uid", "Gid", "Groups", "Umask", "SigBlk", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs",
        "Seccomp", "Cpus_allowed", "Mems_allowed"]
    seen = {n: status.get(n, "").strip() for n in names}
    seen["SigIgn"] = hex(int(status["SigIgn"], 16) & ~2)  # a kernel decides about SIGINT itself
    for n in dir(resource):
        if n.startswith("RLIMIT_"):
            seen[n] = resource.getrlimit(getattr(resource, n))
    for n in ["cgroup", "oom_score_adj", "personality", "coredump_filter"]:
        seen[n] = open("/proc/self/" + n).read()
    for n in ["root", *("ns/" + n for n in os.listdir("/proc/self/ns"))]:
        seen[n] = os.readlink("/proc/self/" + n)
    try:
        seen["memory"] = open("/proc/self/numa_maps").readline().split()[1]
    except OSError:
        pass
    seen["nice"] = os.getpriority(os.PRIO_PROCESS, 0)
    seen["policy"] = os.sched_getscheduler(0)
    seen["io"] = subprocess.run(["ionice", "-p", str(os.getpid())], stdout=subprocess.PIPE).stdout.decode()
    seen["inherited"] = {n: os.readlink("/proc/self/fd/" + n) for n in os.listdir("/proc/self/fd")
        if os.path.exists("/proc/self/fd/" + n) and int(n) > 2 and os.get_inheritable(int(n))}
    seen["cwd"] = os.getcwd()
    seen["variables"] = {n: v for n, v in os.environ.items() if not n.startswith(("JPY_", "PYDEVD_", "BASH_FUNC"))
        and n not in ("PATH", "VIRTUAL_ENV", "TERM", "CLICOLOR", "CLICOLOR_FORCE", "FORCE_COLOR", "PAGER", "GIT_PAGER",
            "MPLBACKEND", "_", "SHLVL", "RUNTIMED_NO_START")}
    return seen
print(json.dumps([place(), os.getppid(), os.getsid(0) == os.getpid()]))
`

// kernelPlace is what a kernel and its probe say of where they are.
type kernelPlace struct {
	seen   map[string]any
	parent int
	leads  bool
}

func (s *warmKernels) place(text string) (p kernelPlace) {
	s.t.Helper()
	var list []any
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		s.t.Fatalf("%v: %q", err, text)
	}
	return kernelPlace{list[0].(map[string]any), int(list[1].(float64)), list[2].(bool)}
}

// ownGroup makes a control group beside those of the test, and returns the file that takes processes. moved says
// whether root may move a standby there: that takes a system of version 2 only.
func ownGroup(t *testing.T) (procs string, moved bool) {
	t.Helper()
	for _, at := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/pids"} {
		dir := filepath.Join(at, fmt.Sprintf("rtd-%d", os.Getpid()))
		if os.Mkdir(dir, 0o755) == nil {
			if procs = filepath.Join(dir, "cgroup.procs"); isThere(procs) {
				t.Cleanup(func() { _ = os.Remove(dir) })
				return procs, at == "/sys/fs/cgroup"
			}
			_ = os.Remove(dir)
		}
	}
	return "/dev/null", true // nothing is moved
}

func TestAKernelIsWhereAPlainOneWouldBeOrIsAPlainOne(t *testing.T) {
	t.Parallel()
	s := standbyHouse(t, 3)
	sh := func(script string) []string { return []string{"sh", "-c", script + `; exec "$@"`, "sh"} }
	python := func(script string) []string {
		script = "import os, signal, sys\n" + script + "\nos.execvp(sys.argv[1], sys.argv[1:])"
		return []string{"python3", "-c", script}
	}
	gone := "mkdir gone; cd gone; rmdir ../gone"
	named := "echo 'raise ImportError(__file__)' | tee json.py socket.py zmq.py >/dev/null"
	s.do("ignore", step{"signals": []syscall.Signal{syscall.SIGQUIT, syscall.SIGUSR2}})
	group, moved := ownGroup(t)
	for _, c := range []struct {
		what    string
		prefix  []string
		env     step
		args    []string
		standby bool
		root    bool   // only root can try
		says    string // why not
		ipc     bool
		fails   string // it cannot start, and says so
		but     string // what is its own
		alone   bool   // nothing to compare it with
	}{
		{what: "nothing special", standby: true},
		{what: "much", prefix: sh("umask 027; ulimit -Sn 200; ulimit -Hn 300; ulimit -c 0; " +
			"prlimit --pid $$ --nproc=5000:5000; " +
			"echo 300 >/proc/$$/oom_score_adj; " +
			"export ODD=\"$(printf 'a\\200\\nb')\"; " +
			"exec nice -n 5 ionice -c 2 -n 6 taskset 1 \"$@\""), standby: true,
			env: step{"BIG": strings.Repeat("x", 100_000)}},
		{what: "the stack", prefix: sh("ulimit -Ss 4096"), says: "stack"},
		{what: "a folder with modules of Python's names", prefix: sh(named), standby: true, alone: true},
		{what: "the same folder and --no-standby", prefix: sh(named), args: []string{"--no-standby"}, alone: true},
		{what: "a folder that is gone", prefix: sh(gone), fails: "FileNotFoundError"}, // as without runt
		{what: "no new privileges", prefix: []string{"setpriv", "--no-new-privs"}, says: "NoNewPrivs"},
		{what: "another group", prefix: []string{"setpriv", "--groups", "4242"}, root: true, says: "Groups"},
		{what: "a mount namespace", prefix: []string{"unshare", "--mount"}, root: true, says: "namespace (ns/mnt)",
			but: "ns/mnt"},
		{what: "a network namespace", prefix: []string{"unshare", "--net"}, root: true, says: "namespace (ns/net)",
			but: "ns/net", ipc: true},
		{what: "a control group", prefix: sh("echo $$ >" + group), root: true, standby: moved,
			says: map[bool]string{false: "control group"}[moved]},
		{what: "a batch job", env: step{"SLURM_JOB_ID": "7"}, says: "batch job (SLURM_JOB_ID)"},
		{what: "a batch policy", prefix: []string{"chrt", "--batch", "0"}, says: "scheduling policy"},
		{what: "a blocked signal", prefix: python("signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])"),
			says: "signals blocked"},
		{what: "another memory policy", prefix: python("import ctypes\n" +
			"ctypes.CDLL(None).syscall(238, 3, ctypes.byref(ctypes.c_ulong(1)), 64)"), says: "another memory policy"},
		{what: "a terminal", prefix: []string{"sh", "-c", `exec script -qec "$*" /dev/null >&2`, "sh"},
			says: "terminal", alone: true},
		{what: "descriptors", prefix: sh("exec 4</etc/hostname 7</dev/null"), standby: true}, // as from Electron
		{what: "a descriptor beyond what a process may open",
			prefix: python("import resource\nos.dup2(os.open(os.devnull, 0), 99)\n" +
				"resource.setrlimit(resource.RLIMIT_NOFILE, (99, 99))"),
			says: "descriptor 99"},
		{what: "modules from the folder that it starts in", env: step{"PYTHONPATH": ":/nowhere"},
			says: "PYTHONPATH names a folder"},
		{what: "RUNTIMED_STANDBY=0", env: step{"RUNTIMED_STANDBY": "0"}, says: "RUNTIMED_STANDBY is 0"},
		{what: "--no-standby", args: []string{"--no-standby"}, says: "--no-standby"},
		{what: "variables that count at the start", env: step{"OMP_NUM_THREADS": "3"}, says: "OMP_NUM_THREADS"},
		{what: "the same again", env: step{"OMP_NUM_THREADS": "3"}, standby: true},
		{what: "more of them", env: step{"OMP_NUM_THREADS": "3", "PYTHONHASHSEED": "1", "LANG": "de_DE.UTF-8"},
			says: "LANG, PYTHONHASHSEED"},
		{what: "the same again after more", env: step{"OMP_NUM_THREADS": "3", "PYTHONHASHSEED": "1",
			"LANG": "de_DE.UTF-8"}, standby: true},
	} {
		t.Run(c.what, func(t *testing.T) {
			if c.root && os.Getuid() != 0 {
				lacking(t, "only root can try")
			}
			s := &warmKernels{jupyter: &jupyter{house: s.house, cmd: s.cmd, in: s.in, out: s.out}, d: s.d}
			copied := *s.house
			copied.t = t
			s.house = &copied
			s.stands()
			s.wrapped("a-kernel", c.prefix, c.args...)
			log := filepath.Join(s.home, "front-end.log")
			before, err := os.ReadFile(log)
			check(t, err)
			cwd := t.TempDir()
			start := step{"kernel": "a-kernel", "cwd": cwd, "env": c.env}
			if c.ipc {
				start["transport"] = "ipc"
			}
			k := s.try("start", start)
			said, err := os.ReadFile(log)
			check(t, err)
			if said := string(said[len(before):]); !strings.Contains(said, c.says) || !strings.Contains(said, c.fails) {
				t.Errorf("it says %s", said)
			}
			if (k.Error != "") != (c.fails != "") {
				t.Error(k.Error)
			}
			if k.Error != "" {
				return
			}
			got, want := s.place(s.cell(place)), kernelPlace{}
			if !c.alone {
				said := s.do("beside", step{"argv": append(slices.Clone(c.prefix), "python3", "-c", place), "cwd": cwd,
					"env": c.env}).Said
				want = s.place(said)
			}
			if is := got.parent == s.d.cmd.Process.Pid; is != c.standby {
				t.Errorf("it is a standby: %t", is)
			}
			for name := range want.seen {
				if name != c.but && fmt.Sprint(got.seen[name]) != fmt.Sprint(want.seen[name]) {
					t.Errorf("%s is %.300v, not %.300v", name, got.seen[name], want.seen[name])
				}
			}
			if !got.leads && !c.alone {
				t.Error("it leads no session")
			}
			s.do("shutdown", nil)
		})
	}
}
