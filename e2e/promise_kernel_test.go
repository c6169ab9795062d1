//go:build e2e && unix

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"runtimed/rpc"
)

// frontEnd is a process that has started a kernel in an environment.
type frontEnd struct {
	t      *testing.T
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	kernel int // its pid
}

// newFrontEnd starts one in env, with the Python of other at its own end.
func newFrontEnd(t *testing.T, env, other rpc.Env) *frontEnd {
	t.Helper()
	f := &frontEnd{t: t, cmd: exec.Command(other.Python, "../testdata/tools/kernel_hold.py", env.Python)}
	f.cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=/usr/bin:/bin"}
	f.cmd.Stderr = os.Stderr
	out, err := f.cmd.StdoutPipe()
	if err == nil {
		f.in, err = f.cmd.StdinPipe()
	}
	if err == nil {
		err = f.cmd.Start()
	}
	check(t, err)
	t.Cleanup(f.kill)
	f.out = bufio.NewReader(out)
	if f.kernel, err = strconv.Atoi(f.read()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if f.lives() {
			_ = syscall.Kill(f.kernel, syscall.SIGKILL)
		}
	})
	return f
}

func (f *frontEnd) read() string {
	f.t.Helper()
	line, err := f.out.ReadString('\n')
	if err != nil {
		f.t.Fatalf("the front-end has ended: %v", err)
	}
	return strings.TrimSpace(line)
}

// runs has the kernel run a cell.
func (f *frontEnd) runs(after, cell string) {
	f.t.Helper()
	fmt.Fprintln(f.in, cell)
	if said := f.read(); said != "ok" {
		f.t.Errorf("after %s: %s: %s", after, cell, said)
	}
}

func (f *frontEnd) kill() {
	_ = f.cmd.Process.Kill()
	_ = f.cmd.Wait()
}

// lives says whether the kernel does; after the end of its front-end nobody may have asked for how it ended.
func (f *frontEnd) lives() bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", f.kernel))
	return err == nil && !strings.Contains(string(data), ") Z ")
}

func TestAKernelRunsOnWhateverHappensToTheDaemonAndItsPool(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withUV()
	const before = "[pools.uv]\nsize = 0\n"
	const data = "[pools.data]\nkind = \"uv\"\nsize = 2\n"
	h.configure(before + data)
	d := h.start()
	h.filled("data", 3*time.Minute)
	env := h.acquire(rpc.AcquireParams{Pool: new("data"), OwnerPID: new(os.Getpid())}).Env
	other := h.acquire(rpc.AcquireParams{Pool: new("data"), OwnerPID: new(os.Getpid()),
		WaitMS: new(int64(120_000))}).Env
	f := newFrontEnd(t, env, other)
	must[rpc.AdoptResult](h, rpc.MethodAdopt, rpc.AdoptParams{Env: env.ID, OwnerPID: f.cmd.Process.Pid})
	reload := func(text string) func() {
		return func() { h.configure(text); must[rpc.ReloadResult](h, rpc.MethodReload, nil) }
	}
	clean := func() {
		must[rpc.GCResult](h, rpc.MethodGC, nil)
		for _, e := range must[rpc.EnvListResult](h, rpc.MethodEnvList, nil).Envs {
			if e.ID == env.ID && e.State == rpc.EnvLeased && e.Lease.Alive && e.Lease.OwnerPID == f.cmd.Process.Pid {
				return
			}
		}
		t.Error("its environment is not leased to its front-end any more")
	}
	restart := func() {
		d.signal(syscall.SIGTERM)
		d.exit(10 * time.Second)
		d = h.start()
	}
	for _, step := range []struct {
		what   string
		do     func()
		module string
	}{
		{"nothing", func() {}, "pygments.lexers.python"},
		{"a kill", func() { d.kill() }, "pip._internal.cli.main"},
		{"a start", func() { d = h.start() }, "tornado.web"},
		{"a flush", func() { must[rpc.FlushResult](h, rpc.MethodFlush, nil) }, "zmq.auth"},
		{"other packages", reload(before + data + "packages = [\"ipykernel\"]\n"), "jupyter_client.manager"},
		{"a stop and a start", restart, "IPython.extensions.autoreload"},
		{"the end of its pool", reload(before), "parso.python.tree"},
		{"a restart without its pool", restart, "prompt_toolkit.application"},
		{"its pool is back", reload(before + data), "ipywidgets"},
	} {
		step.do()
		if step.what != "a kill" {
			clean()
		}
		f.runs(step.what, "import "+step.module)
	}

	f.kill() // and the kernel lives on
	d.kill()
	h.start()
	time.Sleep(12 * time.Second) // two regular looks at owners, and more
	leased := must[rpc.EnvListResult](h, rpc.MethodEnvList, rpc.EnvListParams{State: new(rpc.EnvLeased)})
	if _, err := os.Stat(env.Python); err != nil || !f.lives() {
		t.Errorf("the front-end was killed: %v; leased %+v", err, leased.Envs)
	}
	must[rpc.GCResult](h, rpc.MethodGC, nil)
	began := time.Now()
	check(t, syscall.Kill(f.kernel, syscall.SIGKILL))
	h.eventually(time.Minute, "the environment goes after its kernel", func() bool {
		_, err := os.Stat(env.Path)
		return os.IsNotExist(err)
	})
	t.Logf("gone %s after its kernel", time.Since(began))
	if took := time.Since(began); took > 30*time.Second { // 10 s, and a busy machine
		t.Errorf("the end of the kernel was seen after %s", took)
	}
}

func TestASessionFindsItsEnvironmentAgainAlsoAfterAKill(t *testing.T) {
	t.Parallel()
	h, d := warmHouse(t, fastUV, 2)
	first, second := newTenantFor(t), newTenantFor(t)
	r := h.acquire(rpc.AcquireParams{OwnerPID: new(first.pid()), Session: new("a notebook")})
	if other := h.acquire(rpc.AcquireParams{OwnerPID: new(second.pid()),
		Session: new("a notebook")}); other.Source == rpc.SourceResumed || other.Env.ID == r.Env.ID {
		t.Errorf("two living owners have %s", r.Env.ID)
	} else {
		must[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: other.Env.ID})
	}
	first.end()
	leased := func() rpc.EnvListed {
		t.Helper()
		list := must[rpc.EnvListResult](h, rpc.MethodEnvList, rpc.EnvListParams{State: new(rpc.EnvLeased)}).Envs
		if len(list) != 1 || list[0].ID != r.Env.ID {
			t.Fatalf("leased are %+v", list)
		}
		return list[0]
	}
	h.eventually(10*time.Second, "its owner is seen to have ended", func() bool { return !leased().Lease.Alive })
	if l := leased().Lease; l.Session != "a notebook" {
		t.Errorf("%+v", l)
	}
	d.kill()
	h.start()
	again := h.acquire(rpc.AcquireParams{OwnerPID: new(second.pid()), Session: new("a notebook"),
		LingerMS: new(int64(500)), Label: new("again")})
	if l := leased().Lease; again.Source != rpc.SourceResumed || again.Env.ID != r.Env.ID ||
		l.OwnerPID != second.pid() || !l.Alive || l.Label != "again" {
		t.Errorf("%+v, %+v", again, l)
	}
	second.end()
	h.eventually(5*time.Second, "it goes when it has lingered",
		func() bool { return !slices.Contains(h.folders(), r.Env.ID) })
}

// Each prints the environment that it gets.
const (
	followsSync = `
from runtimed_client import Client
with Client() as c:
    print(c.acquire(wait=60).path)
    assert c.status()`
	followsAsync = `
import asyncio
from runtimed_client import AsyncClient
async def main():
    async with AsyncClient() as c:
        print((await c.acquire(wait=60)).path)
asyncio.run(main())`
)

func TestWhoWaitsFollowsToTheNextDaemonWithTheSameKey(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(gated("go"))
	h.configure(quickly + "1\n")
	source, err := filepath.Abs("../clients/python/src")
	check(t, err)
	h.setenv("RUNTIMED_NO_START", "1") // they follow, and start none
	h.setenv("PYTHONPATH", source)
	h.setenv("PYTHONDONTWRITEBYTECODE", "1")
	clients := [][]string{
		{runtProgram, "run", "--wait", "200s", "--", "printenv", "VIRTUAL_ENV"},
		{runtProgram, "pool", "acquire", "--wait", "200s", "--json"},
		{"python3", "-c", followsSync},
		{"python3", "-c", followsAsync},
	}
	old := h.start()
	var all sync.WaitGroup
	t.Cleanup(all.Wait)
	var mu sync.Mutex
	got := map[string]string{} // what was printed, by the environment
	for _, argv := range clients {
		all.Go(func() {
			cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
			cmd.Env, cmd.Dir = h.env, h.home
			out, err := cmd.Output()
			if err != nil {
				stderr, _ := err.(*exec.ExitError)
				t.Errorf("%v: %v, %s", argv, err, stderr.Stderr)
				return
			}
			path := strings.TrimSpace(string(out))
			var r rpc.AcquireResult
			if json.Unmarshal(out, &r) == nil {
				path = r.Env.Path
			}
			mu.Lock()
			defer mu.Unlock()
			if got[path] != "" {
				t.Errorf("%v and %v both got %s", argv, got[path], path)
			}
			got[path] = argv[0]
		})
	}
	waiting := func() {
		h.eventually(time.Minute, "all wait", func() bool { return h.pool("uv").Waiting == len(clients) })
	}
	waiting()
	old.kill()
	time.Sleep(500 * time.Millisecond) // nobody is there
	next := h.start()
	waiting()
	next.signal(syscall.SIGTERM)
	next.exit(10 * time.Second)
	h.start()
	waiting()
	h.write("go", "")
	all.Wait()
	for path := range got {
		if filepath.Dir(path) != h.state("envs") {
			t.Errorf("%q is no environment", path)
		}
	}
	if given := len(got); given != len(clients) {
		t.Errorf("%d environments were given, not %d", given, len(clients))
	}
	leased := must[rpc.EnvListResult](h, rpc.MethodEnvList, rpc.EnvListParams{State: new(rpc.EnvLeased)})
	if len(leased.Envs) > len(clients) {
		t.Errorf("%d are leased for %d", len(leased.Envs), len(clients))
	}
}
