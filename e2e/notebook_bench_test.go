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

	"runtimed/internal/testkit"
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

func BenchmarkKernelBesidePlainIPykernel(b *testing.B) {
	const rounds, coldRounds = 7, 3
	h := benchHouse(b)
	// Refills would take a core from the kernels that are measured, some of them and others not. They keep away for a
	// second behind an acquire, which is enough on a quiet machine; here they keep away altogether, and the pool has
	// one for each start.
	gate := h.gatedUV(b)
	h.configure(fmt.Sprintf("[build]\nparallel = 2\n[pools.uv]\nsize = %d\n", 2*(rounds+1)))
	h.start()
	front := h.frontEnd(b)
	h.filled("uv", 10*time.Minute)
	version := must[rpc.EnvListResult](h, rpc.MethodEnvList, nil).Envs[0].PythonVersion
	plain := filepath.Join(h.home, "plain")
	h.uv(b, "venv", "--quiet", "--python", version, plain)
	h.uv(b, "pip", "install", "--quiet", "--python", plain, "ipykernel", "ipywidgets", "pip")

	launch := []string{"-m", "ipykernel_launcher", "-f", "{connection_file}"}
	h.kernelJSON("plain", append([]string{plain + "/bin/python"}, launch...), map[string]any{})
	h.kernelJSON("provisioned", append([]string{"python"}, launch...),
		map[string]any{"kernel_provisioner": map[string]any{"provisioner_name": "runtimed"}})
	h.runt("kernelspec", "install")
	bin, err := realUV()
	check(b, err)
	gate(false)
	out := h.output(b, front+"/bin/python", repository(b, "testdata/tools/kernel_bench.py"), strconv.Itoa(rounds),
		strconv.Itoa(coldRounds),
		filepath.Join(bin, "uv"), version)
	gate(true)

	took, more := map[string][]time.Duration{}, map[string][]time.Duration{}
	for line := range strings.Lines(out) {
		var round map[string]float64
		if err := json.Unmarshal([]byte(line), &round); err != nil {
			b.Fatalf("%v: %s", err, line)
		}
		for kind, s := range round {
			took[kind] = append(took[kind], time.Duration(s*float64(time.Second)))
			more[kind] = append(more[kind], time.Duration((s-round["plain"])*float64(time.Second)))
		}
	}
	if len(took["plain"]) != rounds || len(took["cold"]) != coldRounds {
		b.Fatalf("measured were %v", took)
	}
	base := median(took["plain"])
	for _, k := range []struct{ kind, what string }{{"runtimed-uv", "runt kernel"},
		{"provisioned", "the provisioner"}} {
		report(b, fmt.Sprintf("%s, from start to 1+1 answered, median of %d", k.what, rounds), median(took[k.kind]),
			base, "plain ipykernel")
		report(b, "  more than plain, median of the differences within a round", median(more[k.kind]),
			30*time.Millisecond, "goal")
	}
	report(b, fmt.Sprintf("no environment yet: uv venv, uv pip install, 1+1, median of %d", coldRounds),
		median(took["cold"]),
		median(took["runtimed-uv"]), "runt kernel")
}

// repository is a path in it.
func repository(b *testing.B, name string) string {
	b.Helper()
	path, err := filepath.Abs(filepath.Join("../..", name))
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
