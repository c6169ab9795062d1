//go:build e2e && unix

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"runtimed/internal/statedir"
	"runtimed/rpc"
)

// benchHouse runs the ordinary binary where the caller names one: a test binary carries more.
func benchHouse(b *testing.B) *house {
	b.Helper()
	h := newHouse(b).withUV()
	return h
}

func BenchmarkOverTheSocket(b *testing.B) {
	h := benchHouse(b)
	h.configure("[build]\nparallel = 1\n[pools.uv]\nsize = 12\n")
	h.start()
	h.filled("uv", 10*time.Minute)
	idle := usage(h.statusFile().PID)
	time.Sleep(10 * time.Second)
	after := usage(h.statusFile().PID)
	fmt.Printf("%-66s %7d MB   %4.2f of 20 MB (goal)\n", "resident memory, 12 ready", after.rss>>20,
		float64(after.rss)/(20<<20))
	report(b, "processor time in 10 s of doing nothing", after.cpu-idle.cpu, 50*time.Millisecond/3, "goal")

	var pings, acquires, asks []time.Duration
	for range 12 {
		pings = append(pings, once[rpc.None](h, rpc.MethodPing, nil))
		acquires = append(acquires, once[rpc.AcquireResult](h, rpc.MethodAcquire,
			rpc.AcquireParams{WaitMS: new(int64(0))}))
	}
	c := h.dial()
	for range 300 {
		began := time.Now()
		var r rpc.StatusResult
		check(b, c.Call(context.Background(), rpc.MethodStatus, nil, &r))
		asks = append(asks, time.Since(began))
	}
	report(b, "pool.acquire over a new connection, lease on disk, median of 12", median(acquires), 500*time.Microsecond,
		"goal")
	report(b, "  beside a ping over a new connection in the same run", median(acquires), median(pings), "ping")
	report(b, "pool.status on an open connection, median of 300", median(asks), 150*time.Microsecond, "goal")
}

func BenchmarkBuildBesideBareUV(b *testing.B) {
	h := benchHouse(b)
	h.configure("[pools.uv]\nsize = 1\n")
	h.start()
	h.filled("uv", 10*time.Minute)
	var installs, imports, bare []time.Duration
	for i := range 6 { // one of ours, one bare, and so on
		installed, imported := h.bareBuild(b, strconv.Itoa(i))
		installs, imports = append(installs, installed), append(imports, imported)
		bare = append(bare, installed+imported)
		env := h.acquire(rpc.AcquireParams{}).Env.ID
		must[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: env})
		h.eventually(time.Minute, "the pool is full again", func() bool {
			return len(h.logged("environment ready")) == i+2
		})
	}
	ours := h.buildTimes()[1:] // the first one compiled what it imported
	report(b, "a build of a known lock: venv, sync, verified, median of 6", median(ours), 350*time.Millisecond, "goal")
	report(b, "  beside bare uv venv + sync and a first import in turn: <= 0.65", median(ours), median(bare), "bare")
	report(b, "  of which bare uv venv + sync", median(installs), median(bare), "bare")
	report(b, "  and the first import, which compiles", median(imports), median(bare), "bare")
}

// bareBuild makes an environment from the pool's lock file without the daemon, and imports its kernel.
func (h *house) bareBuild(b *testing.B, name string) (installed, imported time.Duration) {
	b.Helper()
	locks, err := filepath.Glob(h.state("locks", "*.txt"))
	if err != nil || len(locks) != 1 {
		b.Fatal(locks, err)
	}
	base := must[rpc.EnvListResult](h, rpc.MethodEnvList, nil).Envs[0].Python
	dir := filepath.Join(h.home, "bare", name)
	python := filepath.Join(dir, "bin", "python")
	began := time.Now()
	h.uv(b, "venv", "--quiet", "--no-project", "--python", statedir.RealPath(base), dir)
	h.uv(b, "pip", "sync", "--quiet", "--offline", "--python", python, locks[0])
	return time.Since(began), h.timed(b, python, "-c", "import ipykernel.kernelapp, ipykernel.debugger")
}

func (h *house) uv(b *testing.B, args ...string) {
	b.Helper()
	bin, err := realUV()
	check(b, err)
	cmd := exec.Command(filepath.Join(bin, "uv"), args...)
	cmd.Env, cmd.Dir = h.env, h.home
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("uv %v: %v: %s", args, err, out)
	}
}

// buildTimes are how long builds took, in their order.
func (h *house) buildTimes() (times []time.Duration) {
	h.t.Helper()
	for _, line := range h.logged("environment ready") {
		var entry struct {
			Took string `json:"took"`
		}
		check(h.t, json.Unmarshal([]byte(line), &entry))
		took, err := time.ParseDuration(entry.Took)
		check(h.t, err)
		times = append(times, took)
	}
	return times
}

func BenchmarkTenAtOnceOnAPoolOfThree(b *testing.B) {
	h := benchHouse(b)
	h.configure("[pools.uv]\nsize = 3\n")
	h.start()
	h.filled("uv", 10*time.Minute)
	var bare time.Duration
	for i := range 7 {
		installed, imported := h.bareBuild(b, strconv.Itoa(i))
		bare += installed + imported
	}
	began := time.Now()
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if _, err := ask[rpc.AcquireResult](h, rpc.MethodAcquire,
				rpc.AcquireParams{OwnerPID: new(os.Getpid())}); err != nil {
				b.Error(err)
			}
		})
	}
	all.Wait()
	served := time.Since(began)
	report(b, "10 acquires at once on a pool of 3, the last one served", served, 4*time.Second, "goal")
	report(b, "  beside the seven builds done bare, one after the other: <= 0.6", served, bare, "bare")
}

func BenchmarkRestartWithReadyEnvironments(b *testing.B) {
	h := benchHouse(b)
	const many = 64
	h.configure(fmt.Sprintf("[build]\nparallel = %d\n[pools.uv]\nsize = %d\n", runtime.NumCPU(), many))
	d := h.start()
	h.filled("uv", 10*time.Minute)
	d.kill()
	began := time.Now()
	h.launch()
	for {
		if _, err := ask[rpc.AcquireResult](h, rpc.MethodAcquire,
			rpc.AcquireParams{WaitMS: new(int64(0))}); err == nil {
			break
		} else if rpc.KindOf(err) != rpc.KindUnreachable {
			b.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	report(b, fmt.Sprintf("killed with %d ready, started, acquired", many), time.Since(began), 100*time.Millisecond,
		"goal")
}

type used struct {
	rss int64
	cpu time.Duration
}

// usage is what a process has used (proc(5): status and stat).
func usage(pid int) (u used) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); f[0] == "VmRSS:" {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			u.rss = kb << 10
		}
	}
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	u.cpu = time.Duration(user+system) * 10 * time.Millisecond // a clock tick is 10 ms on every Linux
	return u
}

// bareRattler is all that it takes to make an environment with rattler, and nothing of ours: solve, install.
const bareRattler = `
import asyncio, sys
from pathlib import Path
import rattler
from rattler.package_cache import ValidationMode
channel, cache, prefix = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
async def main():
    channels, platforms = [rattler.Channel(channel)], [rattler.Subdir.current(), rattler.Subdir("noarch")]
    records = await rattler.solve(
        channels, [rattler.MatchSpec(s) for s in ("python", "ipykernel", "ipywidgets", "pip")],
        gateway=rattler.Gateway(cache_dir=cache / "repodata"), platforms=platforms,
        virtual_packages=rattler.VirtualPackage.detect())
    packages = rattler.PackageCache.new_layered([cache / "pkgs"], validation_mode=ValidationMode.full())
    await rattler.install(records, prefix, package_cache=packages, show_progress=False)
asyncio.run(main())
`

func BenchmarkCondaBuildBesideBareRattler(b *testing.B) {
	h := benchHouse(b).withChannel("size = 5\n")
	h.start()
	h.filled("conda", 10*time.Minute)
	ours := h.buildTimes()[1:]
	memory := usage(h.statusFile().PID).rss
	env := must[rpc.EnvListResult](h, rpc.MethodEnvList, nil).Envs[4].Path
	must[rpc.None](h, rpc.MethodShutdown, nil)

	tools, err := filepath.Glob(h.state("tools", "rattler-*", "bin", "python"))
	if err != nil || len(tools) != 1 {
		b.Fatal(tools, err)
	}
	var bare, imports []time.Duration
	for i := range 4 {
		dir := filepath.Join(h.home, "bare", strconv.Itoa(i))
		bare = append(bare, h.timed(b, tools[0], "-I", "-c", bareRattler, "file://"+h.channel(),
			h.state("tools", "rattler"), dir))
		imports = append(imports, h.timed(b, dir+"/bin/python", "-c", "import ipykernel.kernelapp, ipykernel.debugger"))
	}
	report(b, "a conda build, both caches warm, verified and compiled, median of 4", median(ours), time.Second, "goal")
	report(b, "  beside bare rattler and a first import in the same run", median(ours), median(bare)+median(imports),
		"bare")
	report(b, "  beside bare rattler alone", median(ours), median(bare), "bare")
	own, compiled := unshared(b, env)
	fmt.Printf("%-66s %7.1f MB   and %.1f MB of .pyc that its kernel needs (9 MB: goal)\n",
		"disk that one more takes beside the package cache", mb(own), mb(compiled))
	fmt.Printf("%-66s %7.1f MB\n", "resident memory of the daemon after five builds", mb(memory))
}

// timed is how long a command runs in the daemon's environment.
func (h *house) timed(b *testing.B, argv ...string) time.Duration {
	b.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Dir = h.env, h.home
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	began := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("%v: %s", err, said.String())
	}
	return time.Since(began)
}

// unshared is what an environment takes on disk that no other has, in bytes; what Python compiled is counted apart.
func unshared(b *testing.B, dir string) (own, compiled int64) {
	b.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		switch st := info.Sys().(*syscall.Stat_t); {
		case !d.IsDir() && st.Nlink > 1:
		case strings.HasSuffix(path, ".pyc"):
			compiled += st.Blocks * 512
		default:
			own += st.Blocks * 512
		}
		return nil
	})
	check(b, err)
	return own, compiled
}

func mb(bytes int64) float64 { return float64(bytes) / (1 << 20) }
