//go:build e2e

package e2e

import (
	"os"
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

// pid is the process that cells run in, which is not the one that the front-end started.
func (j *jupyter) pid() int {
	j.t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(j.cell("import os; print(os.getpid())")))
	check(j.t, err)
	return pid
}

const patience = 300 // seconds, on a machine that has much to do

func TestWindowsFrontEndRunsAWarmKernelAsItRunsAnyOther(t *testing.T) {
	h := newHouse(t).withIndex()
	h.configure("[pools.uv]\nsize = 1\npackages = [\"ipykernel\", \"pip\"]\n")
	h.start()
	if s := h.try("kernelspec", "install"); s.code != 0 { // it may say that a program that was just built may not last
		t.Fatalf("runt kernelspec install: %s%s", s.out, s.err)
	}
	h.filled("uv", 5*time.Minute)
	j := h.jupyter(h.provisioner("provisioned")...)
	var specs map[string]string
	if j.raw("specs", nil, &specs); specs["runtimed-uv"] != "Python (warm)" {
		t.Errorf("on offer are %v", specs)
	}
	k := j.do("start", step{"kernel": "runtimed-uv", "env": step{"FROM": "the front-end",
		"JPY_SESSION_NAME": "work/first.ipynb"}, "timeout": patience})
	t.Logf("it answers after %.2f s", k.Seconds)
	if r := j.do("run", step{"code": "print(1 + 1)"}); r.Said != "2\n" {
		t.Errorf("it says %+v", r)
	}
	seen := strings.Split(j.cell("import os, sys; "+
		"print(os.getcwd(), os.environ['FROM'], sys.prefix, os.environ['VIRTUAL_ENV'], sep='\\n')"), "\n")
	list := h.leases()
	if len(list) != 1 {
		t.Fatalf("leased are %+v", list)
	}
	env, l := list[0], list[0].Lease
	if want := []string{h.home, "the front-end", env.Path, env.Path, ""}; !slices.Equal(seen, want) {
		t.Errorf("the kernel sees %q, and it should be %q", seen, want)
	}
	if l.OwnerPID != k.PID || !l.Alive || l.Label != "work/first.ipynb" || !strings.HasSuffix(l.Session, k.File) {
		t.Errorf("the lease is %+v", l)
	}
	for _, code := range []string{"while True: pass", "import time\nwhile True: time.sleep(0.1)"} {
		if r := j.do("run", step{"code": code, "interrupt_after": 1}); r.Ename != "KeyboardInterrupt" {
			t.Errorf("%s: interrupted, it says %+v", code, r)
		}
	}
	if r := j.do("run", step{"code": "print('hello', input('who? '))", "input": "world"}); !strings.Contains(r.Said,
		"hello world") {
		t.Errorf("asked, it says %+v", r)
	}

	j.do("run", step{"code": "%pip install --quiet iniconfig==2.1.0", "timeout": 300})
	first := j.pid()
	again := j.do("restart", step{"timeout": patience})
	if said := j.cell("import iniconfig; print(iniconfig.__name__, 'seen' in globals())"); said != "iniconfig False\n" {
		t.Errorf("after a restart it says %q", said)
	}
	if list := h.leases(); again.PID == k.PID || len(list) != 1 || list[0].ID != env.ID ||
		list[0].Lease.OwnerPID != again.PID {
		t.Errorf("after a restart the process is %d, and leased are %+v", again.PID, list)
	}
	h.gone(first, 10*time.Second)
	second := j.pid()
	third := j.do("restart", step{"now": true, "timeout": patience}) // which kills runt, and nothing tells the kernel
	h.gone(second, 10*time.Second)
	if said := j.cell("import iniconfig; print('seen' in globals())"); said != "False\n" {
		t.Errorf("after a hard restart it says %q", said)
	}
	last := j.pid()
	end := j.do("shutdown", nil)
	h.gone(third.PID, 10*time.Second)
	h.gone(last, 10*time.Second)
	if list := h.leases(); len(list) > 0 {
		t.Errorf("after its end, leased are %+v", list)
	}
	if end.Code != 0 || end.Seconds > 20 {
		t.Errorf("its end: %+v", end)
	}

	h.filled("uv", 5*time.Minute)
	j.do("start", step{"kernel": "provisioned", "timeout": patience})
	said := strings.TrimSpace(j.cell("import sys; print(sys.prefix)"))
	if list := h.leases(); len(list) != 1 || list[0].Path != said || !list[0].Lease.Alive {
		t.Errorf("the provisioner's kernel is in %s, and leased are %+v", said, list)
	}
	if r := j.do("run", step{"code": "while True: pass", "interrupt_after": 1}); r.Ename != "KeyboardInterrupt" {
		t.Errorf("the provisioner's kernel, interrupted, says %+v", r)
	}
	last = j.pid()
	j.do("shutdown", nil)
	h.gone(last, 10*time.Second)
	if list := h.leases(); len(list) > 0 {
		t.Errorf("after the end of the provisioner's kernel, leased are %+v", list)
	}
	h.filled("uv", 5*time.Minute)
	k = j.do("start", step{"kernel": "runtimed-uv", "timeout": patience})
	last = j.pid()
	if os.Getenv("RUNTIMED_SOAK") != "" {
		if r := j.do("papermill", step{"kernel": "runtimed-uv", "code": "print(x + 1)",
			"parameters": step{"x": 41}, "timeout": patience}); r.Said != "42\n" {
			t.Errorf("papermill says %+v", r)
		}
	}
	j.kill() // and its kernel with it, and the lease with the kernel
	h.gone(last, 10*time.Second)
	h.gone(k.PID, 10*time.Second)
	h.eventually(15*time.Second, "the lease waits for the kernel's next start", func() bool {
		return !slices.ContainsFunc(h.leases(), func(e rpc.EnvListed) bool { return e.Lease.Alive })
	})
}

func TestWindowsKernelThatCannotBeHadSaysWhyInTheFirstCell(t *testing.T) {
	h := newHouse(t)
	h.configure(off)
	h.start()
	for name, c := range map[string]struct{ pool, says string }{
		"no-such-pool": {"nope", `no pool is named "nope"`},
		"pool-off":     {"uv", "the pool uv is off"},
	} {
		t.Run(name, func(t *testing.T) {
			h := *h
			h.t = t
			h.kernelspec(name, "--pool", c.pool)
			j := h.jupyter()
			r := j.do("notebook", step{"kernel": name, "code": "1 + 1"})
			t.Logf("after %.2f s: %s", r.Seconds, r.Failed)
			for _, want := range []string{c.says, "CellExecutionError", "restart the kernel to try again"} {
				if !strings.Contains(r.Failed, want) {
					t.Errorf("it does not say %q", want)
				}
			}
		})
	}
}

func TestWindowsKernelThatSaysWhyDoesAllThatAFrontEndAsks(t *testing.T) {
	h := newHouse(t)
	h.kernelspec("warm", "--no-start")
	j := h.jupyter()
	k := j.do("start", step{"kernel": "warm"})
	j.passesForAKernel(k)
	k = j.do("start", step{"kernel": "warm"})
	j.kill()
	h.gone(k.PID, 10*time.Second)
}
