//go:build e2e && unix

package e2e

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"runtimed/rpc"
)

// leases are the leased environments.
func (h *house) leases() []rpc.EnvListed {
	h.t.Helper()
	return must[rpc.EnvListResult](h, rpc.MethodEnvList, rpc.EnvListParams{State: new(rpc.EnvLeased)}).Envs
}

func TestAFrontEndRunsAWarmKernelAsItRunsAnyOther(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withUV()
	h.configure("[pools.uv]\nsize = 1\npackages = [\"ipykernel\", \"pip\"]\n")
	h.runt("kernelspec", "install")
	j := h.jupyter()
	var specs map[string]string
	if j.raw("specs", nil, &specs); specs["runtimed-uv"] != "Python (warm)" {
		t.Errorf("on offer are %v", specs)
	}
	cwd := t.TempDir()
	j.do("start", step{"kernel": "runtimed-uv", "cwd": cwd, "env": step{"FROM": "the front-end",
		"JPY_SESSION_NAME": "work/first.ipynb"}})
	if r := j.do("run", step{"code": "1 + 1"}); r.Ename != "RuntimedError" {
		t.Errorf("without a daemon it says %+v", r)
	}
	h.start()
	h.filled("uv", 3*time.Minute)
	k := j.do("restart", nil)
	t.Logf("it answers after %.2f s", k.Seconds)
	seen := strings.Split(j.cell("import os, sys; "+
		"print(os.getcwd(), os.environ['FROM'], sys.prefix, os.environ['VIRTUAL_ENV'], sep='\\n')"), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(j.cell("print(os.getpid())")))
	check(t, err)
	list := h.leases()
	if len(list) != 1 {
		t.Fatalf("leased are %+v", list)
	}
	env, l := list[0], list[0].Lease
	if want := []string{real(t, cwd), "the front-end", env.Path, env.Path, ""}; !slices.Equal(seen, want) {
		t.Errorf("the kernel sees %q, and it should be %q", seen, want)
	}
	if l.OwnerPID != pid || !l.Alive || l.Label != "work/first.ipynb" || !strings.HasSuffix(l.Session, k.File) {
		t.Errorf("the lease is %+v", l)
	}
	if r := j.do("run", step{"code": "while True: pass", "interrupt_after": 0.5}); r.Ename != "KeyboardInterrupt" {
		t.Errorf("interrupted, it says %+v", r)
	}
	if r := j.do("run", step{"code": "print('hello', input('who? '))", "input": "world"}); !strings.Contains(r.Said,
		"hello world") {
		t.Errorf("asked, it says %+v", r)
	}

	j.cell("%pip install --quiet --no-index " + h.wheel("keepsake"))
	again := j.do("restart", nil)
	if said := j.cell("import keepsake; print(keepsake.answer, 'seen' in globals())"); said != "42 False\n" {
		t.Errorf("after a restart it says %q", said)
	}
	if list := h.leases(); again.PID == k.PID || len(list) != 1 || list[0].ID != env.ID ||
		list[0].Lease.OwnerPID != again.PID {
		t.Errorf("after a restart the process is %d, and leased are %+v", again.PID, list)
	}
	j.cell("import os; os.environ['MARK'] = '1'")
	third := j.do("restart", step{"now": true})
	if said := j.cell("import keepsake, os; print(os.environ.get('MARK'))"); said != "None\n" {
		t.Errorf("after a hard restart it says %q", said)
	}

	end := j.do("shutdown", nil)
	h.gone(third.PID, 10*time.Second)
	if list := h.leases(); len(list) > 0 {
		t.Errorf("after its end, leased are %+v", list)
	}
	if end.Code != 0 || end.Seconds > 20 {
		t.Errorf("its end: %+v", end)
	}
	h.filled("uv", time.Minute)
	if r := j.do("papermill", step{"kernel": "runtimed-uv", "code": "print(x + 1)",
		"parameters": step{"x": 41}}); r.Said != "42\n" {
		t.Errorf("papermill says %+v", r)
	}
}

// real is a folder as a process in it has it.
func real(t *testing.T, dir string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(dir)
	check(t, err)
	return dir
}

func TestARestartedKernelHasAFreshEnvironmentWhereThatWasAsked(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withUV()
	h.configure("[pools.uv]\nsize = 2\npackages = [\"ipykernel\", \"pip\"]\n")
	h.start()
	h.runt("kernelspec", "install", "--on-restart", "fresh", "--name", "always-fresh", "--pool", "uv")
	h.filled("uv", 3*time.Minute)
	j := h.jupyter()
	j.do("start", step{"kernel": "always-fresh", "transport": "ipc"})
	j.cell("%pip install --quiet --no-index " + h.wheel("keepsake"))
	first := h.leases()[0]
	k := j.do("restart", nil)
	if r := j.do("run", step{"code": "import keepsake"}); r.Ename != "ModuleNotFoundError" {
		t.Errorf("after a restart it says %+v", r)
	}
	h.eventually(10*time.Second, "the first environment is gone",
		func() bool { return !slices.Contains(h.folders(), first.ID) })
	pid, err := strconv.Atoi(strings.TrimSpace(j.cell("import os; print(os.getpid())")))
	check(t, err)
	if l := h.leases(); len(l) != 1 || l[0].Lease.OwnerPID != pid ||
		!strings.HasPrefix(l[0].Lease.Session, "jupyter ") || l[0].Lease.Session == first.Lease.Session {
		t.Errorf("leased are %+v", l)
	}
	j.kill() // and its kernel with it, and the lease with the kernel
	h.gone(k.PID, 10*time.Second)
	h.eventually(10*time.Second, "the lease has ended", func() bool { return len(h.leases()) == 0 })
}

func TestAKernelThatCannotBeHadSaysWhyInTheFirstCell(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config string
		script string // of the stand-in
		daemon bool
		args   []string
		says   []string
	}{
		"no daemon": {"", "exit 1", false, []string{"--no-start"},
			[]string{"RuntimedError: the daemon is not running", "hint: start it with: runt daemon start"}},
		"bad config": {"[pools.uv]\nsize = \"three\"\n", "exit 1", false, nil,
			[]string{"config.toml:2", "runt config check"}},
		"unknown pool": {quickly + "1\n", fastUV, true, []string{"--pool", "nope"}, []string{`no pool`, "nope"}},
		"pool off":     {quickly + "0\n", fastUV, true, nil, []string{"the pool uv is off"}},
		"empty too long": {quickly + "1\n", at(stepSync, "sleep 88.25"), true, []string{"--wait", "1s"},
			[]string{"no environment"}},
		"failing pool": {quickly + "1\n", at("'pip compile'",
			"echo 'Because nosuch was not found in the package registry' >&2; exit 1"), true, nil,
			[]string{"nosuch is not in the index", "| Because nosuch was not found in the package registry"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t).withStandIn(c.script)
			h.configure(c.config)
			if c.daemon {
				h.start()
			}
			if name == "failing pool" {
				h.eventually(time.Minute, "the pool fails", func() bool { return h.pool("uv").Error != nil })
			}
			h.kernelspec("warm", c.args...)
			r := h.jupyter().do("notebook", step{"kernel": "warm", "code": "1 + 1"})
			t.Logf("after %.2f s: %s", r.Seconds, r.Failed)
			for _, want := range append(c.says, "CellExecutionError", "restart the kernel to try again") {
				if !strings.Contains(r.Failed, want) {
					t.Errorf("it does not say %q", want)
				}
			}
			if r.Seconds > 20 {
				t.Errorf("it says so after %.1f s", r.Seconds)
			}
		})
	}
}

func TestTheKernelThatSaysWhyDoesAllThatAFrontEndAsks(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"tcp", "ipc"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.kernelspec("warm", "--no-start")
			j := h.jupyter()
			k := j.do("start", step{"kernel": "warm", "transport": transport})
			j.passesForAKernel(k)
			j.do("start", step{"kernel": "warm", "transport": transport})
			if end := j.do("terminate", nil); end.Code != 0 {
				t.Errorf("on SIGTERM it ends with %d", end.Code)
			}
			k = j.do("start", step{"kernel": "warm", "transport": transport})
			j.kill()
			h.gone(k.PID, 10*time.Second)
		})
	}
}

func TestAKernelThatWaitsForItsEnvironmentIsNotEndedByAnInterrupt(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(at(stepSync, "while [ ! -e \"$HOME/go\" ]; do sleep 0.05; done"))
	h.configure(quickly + "1\n")
	h.start()
	h.kernelspec("warm")
	j := h.jupyter()
	waiting := func() told {
		k := j.do("start", step{"kernel": "warm", "ready": false})
		h.eventually(10*time.Second, "it waits in line", func() bool { return h.pool("uv").Waiting == 1 })
		return k
	}
	k := waiting()
	if r := j.do("interrupt", nil); !r.Alive {
		t.Error("it ends when it is interrupted")
	}
	j.do("terminate", nil)
	h.eventually(10*time.Second, "it is no longer in line", func() bool { return h.pool("uv").Waiting == 0 })
	h.gone(k.PID, 10*time.Second)
	k = waiting()
	j.kill()
	h.gone(k.PID, 10*time.Second)
	write(h, filepath.Join(h.home, "go"), "")
}
