//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"runtimed/rpc"
)

// notebookVenv is a venv with packages from the index, made once and kept.
func (h *house) notebookVenv(b *testing.B, name string, packages ...string) string {
	b.Helper()
	dir := filepath.Join(testCache(b), name)
	python := filepath.Join(dir, "bin", "python")
	if _, err := os.Stat(filepath.Join(dir, "done")); err != nil {
		h.uv(b, "venv", "--quiet", "--clear", "--no-project", dir)
		h.uv(b, append([]string{"pip", "install", "--quiet", "--python", python}, packages...)...)
		if err := os.WriteFile(filepath.Join(dir, "done"), nil, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return dir
}

// gatedUV puts a uv on the daemon's PATH that begins nothing while the gate is closed.
func (h *house) gatedUV(b *testing.B) (gate func(open bool)) {
	b.Helper()
	bin, err := realUV()
	if err != nil {
		b.Fatal(err)
	}
	closed, dir := filepath.Join(h.home, "closed"), filepath.Join(h.home, "gated")
	script := fmt.Sprintf("#!/bin/sh\nwhile [ -e %q ]; do sleep 1; done\nexec %q \"$@\"\n", closed, filepath.Join(bin, "uv"))
	if err := os.Mkdir(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "uv"), []byte(script), 0o755); err != nil {
		b.Fatal(err)
	}
	h.setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func(open bool) {
		err := os.WriteFile(closed, nil, 0o644)
		if open {
			err = os.Remove(closed)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// kernelJSON writes a kernelspec.
func (h *house) kernelJSON(name string, argv []string, metadata map[string]any) {
	h.t.Helper()
	dir := filepath.Join(h.home, ".local/share/jupyter/kernels", name)
	text, err := json.Marshal(map[string]any{"argv": argv, "display_name": name, "language": "python", "metadata": metadata})
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "kernel.json"), text, 0o644)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

func BenchmarkKernelBesidePlainIPykernel(b *testing.B) {
	const rounds, coldRounds = 7, 3
	h := benchHouse(b)
	// Refills would take a core from the kernels that are measured, some of them and others not. They keep away for a second behind an
	// acquire, which is enough on a quiet machine; here they keep away altogether, and the pool has one for each start.
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
	if err != nil {
		b.Fatal(err)
	}
	gate(false)
	out := h.output(b, front+"/bin/python", repository(b, "testdata/tools/kernel_bench.py"), strconv.Itoa(rounds), strconv.Itoa(coldRounds),
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
	for _, k := range []struct{ kind, what string }{{"runtimed-uv", "runt kernel"}, {"provisioned", "the provisioner"}} {
		report(b, fmt.Sprintf("%s, from start to 1+1 answered, median of %d", k.what, rounds), median(took[k.kind]), base, "plain ipykernel")
		report(b, "  more than plain, median of the differences within a round", median(more[k.kind]), 30*time.Millisecond, "goal")
	}
	report(b, fmt.Sprintf("no environment yet: uv venv, uv pip install, 1+1, median of %d", coldRounds), median(took["cold"]),
		median(took["runtimed-uv"]), "runt kernel")
}

// repository is a path in it.
func repository(b *testing.B, name string) string {
	b.Helper()
	path, err := filepath.Abs(filepath.Join("../..", name))
	if err != nil {
		b.Fatal(err)
	}
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

// smallPackages are pure, small, and imported by their names. Each pair of them is a set of needs that nobody asked for before.
var smallPackages = []string{"humanize", "tabulate", "toolz", "iniconfig", "sortedcontainers", "inflection", "docopt", "termcolor"}

// pairs gives out the pairs of smallPackages, each once.
func pairs() func() []string {
	i, j := 0, 0
	return func() []string {
		if j++; j == len(smallPackages) {
			i++
			j = i + 1
		}
		return []string{smallPackages[i], smallPackages[j]}
	}
}

// rested waits until the daemon has nothing to do: the pool is full, what was asked for once is there for who asks again, and what was
// given back is gone.
func (h *house) rested(needs []string) {
	h.t.Helper()
	h.eventually(time.Minute, "the daemon has nothing to do", func() bool {
		kept := needs == nil
		for _, e := range must[rpc.EnvListResult](h, rpc.MethodEnvList, nil).Envs {
			if e.State != rpc.EnvReady {
				return false
			}
			kept = kept || slices.Equal(e.Needs, needs)
		}
		s := h.pool("uv")
		return s.Available == s.Target && s.Warming == 0 && kept
	})
}

// extension is an acquire that extends, and how long each stage of it took.
func (h *house) extension(needs []string) (whole time.Duration, stages map[string]time.Duration, env string) {
	h.t.Helper()
	stages = map[string]time.Duration{}
	began := time.Now()
	last, stage := began, "begins"
	pass := func(to string) {
		now := time.Now()
		stages[stage] += now.Sub(last)
		last, stage = now, to
	}
	c, err := rpc.Dial(h.t.Context(), h.socket, rpc.ClientOptions{OnNotify: func(method string, params json.RawMessage) {
		var at rpc.Progress
		if method == rpc.NotifyProgress && json.Unmarshal(params, &at) == nil {
			pass(at.Stage)
		}
	}})
	if err != nil {
		h.t.Fatal(err)
	}
	defer c.Close()
	var r rpc.AcquireResult
	if err := c.Call(h.t.Context(), rpc.MethodAcquire, rpc.AcquireParams{Packages: needs, Progress: p(true), OwnerPID: p(os.Getpid())}, &r); err != nil {
		h.t.Fatal(err)
	}
	pass("")
	if r.Source != rpc.SourceExtended || len(r.Added) != len(needs) {
		h.t.Fatalf("%v: %s, added %v", needs, r.Source, r.Added)
	}
	return time.Since(began), stages, r.Env.ID
}

func BenchmarkAcquireWithTwoPackagesMore(b *testing.B) {
	h := benchHouse(b)
	h.warmed(b)
	h.configure("[pools.uv]\nsize = 1\n")
	h.start()
	h.filled("uv", 10*time.Minute)
	next := pairs()
	var first, again []time.Duration
	stages := map[string][]time.Duration{}
	for range 5 {
		needs := next()
		took, parts, env := h.extension(needs)
		first = append(first, took)
		for name, d := range parts {
			stages[name] = append(stages[name], d)
		}
		must[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: env})
		h.rested(needs)
		began := time.Now()
		r := h.acquire(rpc.AcquireParams{Packages: needs, OwnerPID: p(os.Getpid())})
		if again = append(again, time.Since(began)); r.Source != rpc.SourceReady {
			b.Fatal(r.Source)
		}
		must[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: r.Env.ID})
		h.rested(needs)
	}
	report(b, "pool.acquire with two small packages more, never asked for before", median(first), 500*time.Millisecond, "goal")
	for _, name := range []string{"begins", rpc.StageResolving, rpc.StageInstalling, rpc.StageVerifying} {
		if list := stages[name]; len(list) > 0 {
			report(b, "  of that: "+name, median(list), median(first), "all of it")
		}
	}
	report(b, "  the same set again", median(again), median(first), "the first time")
}

// warmed has uv's cache know smallPackages, and what its answers depend on.
func (h *house) warmed(b *testing.B) {
	b.Helper()
	dir := filepath.Join(h.home, "warmed")
	h.uv(b, "venv", "--quiet", "--no-project", dir)
	h.uv(b, append([]string{"pip", "install", "--quiet", "--python", dir}, smallPackages...)...)
}

// rivals are two ways to the same end, given what it needs: theirs, and with the pool.
type rivals struct {
	what, them   string
	theirs, ours func(needs []string) []string
}

// compare times both on sets of needs that neither has met, and each set once more.
func (h *house) compare(b *testing.B, r rivals, next func() []string, sets int, env []string) {
	b.Helper()
	var took [2][2][]time.Duration // first, again; theirs, ours
	for range sets {
		needs := next()
		for again := range 2 {
			for who, argv := range [][]string{r.theirs(needs), r.ours(needs)} {
				with := h.env
				if who == 0 {
					with = append(with[:len(with):len(with)], env...)
				}
				took[again][who] = append(took[again][who], h.timedWith(b, with, argv...))
			}
			h.rested(needs)
		}
	}
	for again, name := range []string{"new to both", "once more"} {
		report(b, fmt.Sprintf("%s, %s, median of %d", r.what, name, sets), median(took[again][1]), median(took[again][0]), r.them)
	}
}

// timedWith is how long a command runs.
func (h *house) timedWith(b *testing.B, env []string, argv ...string) time.Duration {
	b.Helper()
	var said bytes.Buffer
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = append(env, "RUNTIMED_NO_START=1", "JUPYTER_PLATFORM_DIRS="), h.home, &said, &said
	began := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("%v: %v: %s", argv, err, said.String())
	}
	return time.Since(began)
}

// bareCache is a cache for a bare uv: all that the tests' own has but what uv keeps of earlier runs, which would make every set of needs
// an old one.
func (h *house) bareCache(b *testing.B) string {
	b.Helper()
	kept, dir := filepath.Join(testCache(b), "uv-cache"), filepath.Join(h.home, "bare-cache")
	entries, err := os.ReadDir(kept)
	if err == nil {
		err = os.Mkdir(dir, 0o755)
	}
	for _, e := range entries {
		if err == nil && e.IsDir() && !strings.HasPrefix(e.Name(), "environments-") {
			err = os.Symlink(filepath.Join(kept, e.Name()), filepath.Join(dir, e.Name()))
		}
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { // what it keeps lies among the wheels of the tests' own
		links, _ := filepath.Glob(filepath.Join(dir, "environments-*", "*", "*"))
		for _, link := range links {
			if to, err := filepath.EvalSymlinks(link); err == nil && filepath.Base(filepath.Dir(to)) == "archive-v0" {
				_ = os.RemoveAll(to)
			}
		}
	})
	return dir
}

// withEach is a flag before each of the needs.
func withEach(needs []string) (args []string) {
	for _, n := range needs {
		args = append(args, "--with", n)
	}
	return args
}

func BenchmarkNeedsBesideUVRunAndJuv(b *testing.B) {
	const sets = 3
	h := benchHouse(b)
	h.warmed(b)
	h.configure("[pools.uv]\nsize = 1\n")
	h.start()
	front, juv := h.frontEnd(b), h.notebookVenv(b, "juv-0.5.0", "juv==0.5.0")
	h.filled("uv", 10*time.Minute)
	bin, err := realUV()
	runt, built := runtProgram()
	if err = errors.Join(err, built); err != nil {
		b.Fatal(err)
	}
	uv := filepath.Join(bin, "uv")
	python := must[rpc.EnvListResult](h, rpc.MethodEnvList, nil).Envs[0].PythonVersion
	// Both have all that they need in the cache; a uv that may ask the index would wait for the network now and then.
	env := []string{"UV_CACHE_DIR=" + h.bareCache(b), "UV_OFFLINE=1"}
	next := pairs()
	uses := func(needs []string) string { return "import " + strings.Join(needs, ", ") }
	script := func(needs []string) string {
		path := filepath.Join(h.home, strings.Join(needs, "-")+".py")
		h.write(filepath.Base(path), fmt.Sprintf("# /// script\n# dependencies = [%q, %q]\n# ///\n%s\n", needs[0], needs[1], uses(needs)))
		return path
	}
	notebook := func(needs []string) string {
		path := filepath.Join(h.home, strings.Join(needs, "-")+".ipynb")
		h.write(filepath.Base(path), fmt.Sprintf(`{"cells": [{"cell_type": "code", "id": "a", "metadata": {}, "execution_count": null, "outputs": [], "source": %q}],
			"metadata": {"kernelspec": {"name": "warm", "display_name": "warm", "language": "python"}}, "nbformat": 4, "nbformat_minor": 5}`, uses(needs)))
		return path
	}
	for _, r := range []rivals{
		{
			"runt run --with A --with B", "uv run --with A --with B",
			func(needs []string) []string {
				return append(append([]string{uv, "run", "--no-project", "--python", python}, withEach(needs)...), "python", "-c", uses(needs))
			},
			func(needs []string) []string {
				return append(append([]string{runt, "run"}, withEach(needs)...), "--", "python", "-c", uses(needs))
			},
		},
		{
			"runt run SCRIPT, which says what it needs", "uv run SCRIPT",
			func(needs []string) []string { return []string{uv, "run", "--python", python, script(needs)} },
			func(needs []string) []string { return []string{runt, "run", script(needs)} },
		},
		// juv has no kernel where there is no browser: its exec runs the cells as one script. So it is held against the same here, and
		// against what a warm kernel does, which is more.
		{
			"runt run with a notebook's cells as a script", "juv exec, no kernel",
			func(needs []string) []string {
				return append(append([]string{juv + "/bin/juv", "exec", "--python", python}, withEach(needs)...), notebook(needs))
			},
			func(needs []string) []string { return []string{runt, "run", script(needs)} },
		},
		{
			"nbclient, the notebook in a kernel of runt kernel", "juv exec, no kernel",
			func(needs []string) []string {
				return append(append([]string{juv + "/bin/juv", "exec", "--python", python}, withEach(needs)...), notebook(needs))
			},
			func(needs []string) []string {
				h.kernelspec("warm", append(withEach(needs), "--on-restart", "fresh")...)
				return []string{front + "/bin/python", front + "/bin/jupyter-execute", notebook(needs)}
			},
		},
	} {
		h.compare(b, r, next, sets, env)
	}
}

// frontEnd is a venv with jupyter_client, nbclient and our own client.
func (h *house) frontEnd(b *testing.B) string {
	b.Helper()
	dir := h.notebookVenv(b, "front-end-bench-8.10.0-0.11.0", "jupyter-client==8.10.0", "nbclient==0.11.0")
	h.uv(b, "pip", "install", "--quiet", "--python", dir, "--reinstall-package", "runtimed-client", repository(b, "clients/python"))
	return dir
}
