//go:build e2e && unix

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
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
	if err != nil {
		t.Fatal(err)
	}
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
	other := h.acquire(rpc.AcquireParams{Pool: new("data"), OwnerPID: new(os.Getpid()), WaitMS: new(int64(120_000))}).Env
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
	if err := syscall.Kill(f.kernel, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.eventually(time.Minute, "the environment goes after its kernel", func() bool {
		_, err := os.Stat(env.Path)
		return os.IsNotExist(err)
	})
	t.Logf("gone %s after its kernel", time.Since(began))
	if took := time.Since(began); took > 30*time.Second { // 10 s, and a busy machine
		t.Errorf("the end of the kernel was seen after %s", took)
	}
}
