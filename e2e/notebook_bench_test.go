//go:build e2e && unix

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"runtimed/internal/proc"
	"runtimed/internal/testkit"
	"runtimed/pool/standby"
	"runtimed/rpc"
)

// notebookVenv is a venv with packages from the index, made once and kept.
func (h *house) notebookVenv(b *testing.B, name string, packages ...string) string {
	b.Helper()
	dir := filepath.Join(testkit.KeptTools(b), name)
	python := filepath.Join(dir, "bin", "python")
	if _, err := os.Stat(filepath.Join(dir, "done")); err != nil {
		h.uv(b, "venv", "--quiet", "--clear", "--no-project", dir)
		h.uv(b, append([]string{"pip", "install", "--quiet", "--python", python}, packages...)...)
		check(b, os.WriteFile(filepath.Join(dir, "done"), nil, 0o644))
	}
	return dir
}

// gatedUV puts a uv on the daemon's PATH that begins nothing while the gate is closed.
func (h *house) gatedUV(b *testing.B) (gate func(open bool)) {
	b.Helper()
	bin, err := realUV()
	check(b, err)
	closed, dir := filepath.Join(h.home, "closed"), filepath.Join(h.home, "gated")
	script := fmt.Sprintf("#!/bin/sh\nwhile [ -e %q ]; do sleep 1; done\nexec %q \"$@\"\n", closed,
		filepath.Join(bin, "uv"))
	check(b, os.Mkdir(dir, 0o755))
	check(b, os.WriteFile(filepath.Join(dir, "uv"), []byte(script), 0o755))
	h.setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func(open bool) {
		err := os.WriteFile(closed, nil, 0o644)
		if open {
			err = os.Remove(closed)
		}
		check(b, err)
	}
}

// kernelJSON writes a kernelspec.
func (h *house) kernelJSON(name string, argv []string, metadata map[string]any) {
	h.t.Helper()
	dir := filepath.Join(h.home, ".local/share/jupyter/kernels", name)
	text, err := json.Marshal(map[string]any{"argv": argv, "display_name": name, "language": "python",
		"metadata": metadata})
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "kernel.json"), text, 0o644)
	}
	check(h.t, err)
}

// dataPackages are what the pool data has beside the kernel's, and its standbys have imported.
var dataPackages = []string{"numpy", "pandas", "matplotlib"}

func BenchmarkKernelBesidePlainIPykernel(b *testing.B) {
	const rounds, coldRounds = 7, 3
	h := benchHouse(b)
	// Refills would take a core from the kernels that are measured, some of them and others not. They keep away for a
	// second behind an acquire, which is enough on a quiet machine; here they keep away altogether, and the pool has
	// one for each start.
	gate := h.gatedUV(b)
	h.configure(fmt.Sprintf("[build]\nparallel = 2\n[pools.uv]\nsize = %d\n[pools.data]\nkind = \"uv\"\nsize = %d\n"+
		"packages = [\"ipykernel\", \"ipywidgets\", \"pip\", \"%s\"]\n"+
		"preload = [\"numpy\", \"pandas\", \"matplotlib.pyplot\"]\n",
		4*(rounds+1), 2*(rounds+1), strings.Join(dataPackages, `", "`)))
	h.start()
	front := h.frontEnd(b)
	h.filled("uv", 10*time.Minute)
	h.filled("data", 10*time.Minute)
	version := must[rpc.EnvListResult](h, rpc.MethodEnvList, nil).Envs[0].PythonVersion
	for suffix, packages := range map[string][]string{"": nil, "-data": dataPackages} {
		plain := filepath.Join(h.home, "plain"+suffix)
		h.uv(b, "venv", "--quiet", "--python", version, plain)
		h.uv(b, append([]string{"pip", "install", "--quiet", "--python", plain, "ipykernel", "ipywidgets", "pip"},
			packages...)...)
		launch := []string{"-m", "ipykernel_launcher", "-f", "{connection_file}"}
		pool := "uv"
		if suffix != "" {
			pool = "data"
		}
		h.kernelJSON("plain"+suffix, append([]string{plain + "/bin/python"}, launch...), map[string]any{})
		h.kernelJSON("provisioned"+suffix, append([]string{"python"}, launch...),
			map[string]any{"kernel_provisioner": map[string]any{"provisioner_name": "runtimed",
				"config": map[string]any{"pool": pool}}})
		h.kernelJSON("runtimed-uv"+suffix, []string{runtProgram, "kernel", "--pool", pool, "-f", "{connection_file}"},
			map[string]any{})
	}
	bin, err := realUV()
	check(b, err)
	gate(false)
	defer gate(true)
	for _, m := range []struct {
		mode, what string
		cold       int
		goal       float64 // of plain
	}{
		{"eager", "1+1 answered", coldRounds, 0.35}, {"stock", "1+1 answered, jupyter_client as it is", 0, 0.5},
		{"imports", "numpy, pandas and matplotlib imported", 0, 0.15},
	} {
		out := h.output(b, front+"/bin/python", repository(b, "testdata/tools/kernel_bench.py"), m.mode,
			strconv.Itoa(rounds), strconv.Itoa(m.cold), filepath.Join(bin, "uv"), version)
		took := map[string][]time.Duration{}
		for line := range strings.Lines(out) {
			var round map[string]float64
			if err := json.Unmarshal([]byte(line), &round); err != nil {
				b.Fatalf("%v: %s", err, line)
			}
			for kind, s := range round {
				took[kind] = append(took[kind], time.Duration(s*float64(time.Second)))
			}
		}
		if len(took["plain"]) != rounds || len(took["cold"]) != m.cold {
			b.Fatalf("measured were %v", took)
		}
		base := median(took["plain"])
		for _, k := range []struct{ kind, what string }{{"runtimed-uv", "runt kernel"},
			{"provisioned", "the provisioner"}} {
			report(b, fmt.Sprintf("%s: start to %s", k.what, m.what), median(took[k.kind]), base,
				fmt.Sprintf("plain; goal %.2f", m.goal))
		}
		if m.cold > 0 {
			report(b, fmt.Sprintf("no environment yet: uv venv, uv pip install, 1+1, median of %d", m.cold),
				median(took["cold"]), median(took["runtimed-uv"]), "runt kernel")
		}
	}
}

// BenchmarkAStandbyThatNobodyUses is what standbys cost beside the daemon.
func BenchmarkAStandbyThatNobodyUses(b *testing.B) {
	h := benchHouse(b)
	h.configure("[pools.uv]\nsize = 3\n")
	h.start()
	h.filled("uv", 10*time.Minute)
	h.eventually(time.Minute, "a standby is ready", func() bool { return h.pool("uv").Standby.Ready == 1 })
	daemon := h.statusFile().PID
	standbys := proc.Marked(standby.MarkEnv, func(dir string) bool { return strings.HasPrefix(dir, h.state("envs")) })
	if len(standbys) != 1 {
		b.Fatalf("%d standbys", len(standbys))
	}
	processor := func() time.Duration { return usage(daemon).cpu + usage(standbys[0]).cpu }
	before := processor()
	time.Sleep(30 * time.Second)
	report(b, "processor time in 30 s of doing nothing, standby included", processor()-before, 30*time.Millisecond,
		"goal")
	for _, m := range []struct {
		what string
		pid  int
		goal float64 // MB
	}{{"the daemon", daemon, 17.8}, {"a standby of its own (PSS)", standbys[0], 45}} {
		size := float64(pss(b, m.pid)) / 1e6
		fmt.Printf("%-66s %7.1f MB   %4.2f of %.1f MB (goal)\n", "memory of "+m.what, size, size/m.goal, m.goal)
	}
}

// pss is the memory of a process in which what it shares counts in parts (proc(5), smaps_rollup).
func pss(b *testing.B, pid int) (bytes int64) {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	check(b, err)
	_, rest, _ := strings.Cut(string(data), "\nPss:")
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	check(b, err)
	return kib << 10
}

// repository is a path in it.
func repository(b *testing.B, name string) string {
	b.Helper()
	path, err := filepath.Abs(filepath.Join("..", name))
	check(b, err)
	return path
}

// output is what a command prints in the house.
func (h *house) output(b *testing.B, argv ...string) string {
	b.Helper()
	var said bytes.Buffer
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Dir, cmd.Stderr = append(h.env, "RUNTIMED_NO_START=1", "JUPYTER_PLATFORM_DIRS="), h.home, &said
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("%v: %v: %s%s", argv, err, out, said.String())
	}
	return string(out)
}

// frontEnd is a venv with jupyter_client, nbclient and our own client.
func (h *house) frontEnd(b *testing.B) string {
	b.Helper()
	dir := h.notebookVenv(b, "front-end-bench-8.10.0-0.11.0", "jupyter-client==8.10.0", "nbclient==0.11.0")
	h.uv(b, "pip", "install", "--quiet", "--python", dir, "--reinstall-package", "runtimed-client",
		"--reinstall-package", "runtimed-jupyter",
		repository(b, "clients/python"), repository(b, "clients/jupyter"))
	return dir
}
