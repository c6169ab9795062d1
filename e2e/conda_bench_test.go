//go:build e2e && unix

package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
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

// bareRattler is all that it takes to make an environment with rattler, and nothing of ours: solve, install.
const bareRattler = `
import asyncio, sys
from pathlib import Path
import rattler
from rattler.package_cache import ValidationMode
channel, cache, prefix = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
async def main():
    channels, platforms = [rattler.Channel(channel)], [rattler.Subdir.current(), rattler.Subdir("noarch")]
    records = await rattler.solve(channels, [rattler.MatchSpec(s) for s in ("python", "ipykernel", "ipywidgets", "pip")],
        gateway=rattler.Gateway(cache_dir=cache / "repodata"), platforms=platforms, virtual_packages=rattler.VirtualPackage.detect())
    packages = rattler.PackageCache.new_layered([cache / "pkgs"], validation_mode=ValidationMode.full())
    await rattler.install(records, prefix, package_cache=packages, show_progress=False)
asyncio.run(main())
`

func BenchmarkCondaBuildBesideBareRattler(b *testing.B) {
	h := benchHouse(b).withChannel("size = 5\n")
	h.start()
	h.filled("conda", 10*time.Minute)
	ours := buildTimes(h)
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
		bare = append(bare, h.timed(b, tools[0], "-I", "-c", bareRattler, "file://"+h.channel(), h.state("tools", "rattler"), dir))
		imports = append(imports, h.timed(b, dir+"/bin/python", "-c", "import ipykernel.kernelapp, ipykernel.debugger"))
	}
	report(b, "a conda build, both caches warm, verified and compiled, median of 4", median(ours), time.Second, "goal")
	report(b, "  beside bare rattler and a first import in the same run", median(ours), median(bare)+median(imports), "bare")
	report(b, "  beside bare rattler alone", median(ours), median(bare), "bare")
	own, compiled := unshared(b, env)
	fmt.Printf("%-66s %7.1f MB   and %.1f MB of .pyc that its kernel needs (9 MB: goal)\n", "disk that one more takes beside the package cache", mb(own), mb(compiled))
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
	if err != nil {
		b.Fatal(err)
	}
	return own, compiled
}

func mb(bytes int64) float64 { return float64(bytes) / (1 << 20) }
