//go:build e2e && unix

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
	"runtimed/rpc"
)

// smallPackages are pure, small, imported by their names, and sorted, as the daemon's needs are. Each pair of them is a
// set of needs that nobody asked for before.
var smallPackages = []string{"docopt", "humanize", "inflection", "iniconfig", "sortedcontainers", "tabulate",
	"termcolor", "toolz"}

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

// rested waits until the daemon has nothing to do: the pool is full, what was asked for once is there for who asks
// again, and what was given back is gone.
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
	c, err := rpc.Dial(h.t.Context(), h.socket, rpc.ClientOptions{OnNotify: func(method string,
		params json.RawMessage) {
		var at rpc.Progress
		if method == rpc.NotifyProgress && json.Unmarshal(params, &at) == nil {
			pass(at.Stage)
		}
	}})
	check(h.t, err)
	defer c.Close()
	var r rpc.AcquireResult
	if err := c.Call(h.t.Context(), rpc.MethodAcquire, rpc.AcquireParams{Packages: needs, Progress: new(true),
		OwnerPID: new(os.Getpid())}, &r); err != nil {
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
		r := h.acquire(rpc.AcquireParams{Packages: needs, OwnerPID: new(os.Getpid())})
		if again = append(again, time.Since(began)); r.Source != rpc.SourceReady {
			b.Fatal(r.Source)
		}
		must[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: r.Env.ID})
		h.rested(needs)
	}
	report(b, "pool.acquire with two small packages more, never asked for before", median(first), 500*time.Millisecond,
		"goal")
	for _, name := range []string{"begins", builder.StageResolving, builder.StageInstalling, builder.StageVerifying} {
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

// compared are medians: of the first time, when what is needed is new to both, and of the second.
type compared struct{ theirs, ours [2]time.Duration }

// compare times both on sets of needs that neither has met, and each set once more.
func (h *house) compare(b *testing.B, r rivals, next func() []string, sets int, env []string) (c compared) {
	b.Helper()
	var theirs, ours [2][]time.Duration
	for range sets {
		needs := next()
		for turn := range turns {
			theirs[turn] = append(theirs[turn], h.timedWith(b, append(h.env[:len(h.env):len(h.env)], env...),
				r.theirs(needs)...))
			ours[turn] = append(ours[turn], h.timedWith(b, h.env, r.ours(needs)...))
			h.rested(needs)
		}
	}
	for turn := range turns {
		c.theirs[turn], c.ours[turn] = median(theirs[turn]), median(ours[turn])
		report(b, r.what+", "+turns[turn], c.ours[turn], c.theirs[turn], r.them)
	}
	return c
}

var turns = [2]string{"new to both", "again"}

// timedWith is how long a command runs.
func (h *house) timedWith(b *testing.B, env []string, argv ...string) time.Duration {
	b.Helper()
	var said bytes.Buffer
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = append(env, "RUNTIMED_NO_START=1", "JUPYTER_PLATFORM_DIRS="), h.home,
		&said, &said
	began := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("%v: %v: %s", argv, err, said.String())
	}
	return time.Since(began)
}

// bareCache is a cache for a bare uv: all that the tests' own has but what uv keeps of earlier runs, which would make
// every set of needs an old one.
func (h *house) bareCache(b *testing.B) string {
	b.Helper()
	kept, dir := filepath.Join(testkit.KeptTools(b), "uv-cache"), filepath.Join(h.home, "bare-cache")
	entries, err := os.ReadDir(kept)
	if err == nil {
		err = os.Mkdir(dir, 0o755)
	}
	for _, e := range entries {
		if err == nil && e.IsDir() && !strings.HasPrefix(e.Name(), "environments-") {
			err = os.Symlink(filepath.Join(kept, e.Name()), filepath.Join(dir, e.Name()))
		}
	}
	check(b, err)
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
	check(b, err)
	uv := filepath.Join(bin, "uv")
	if err := relink(filepath.Join(juv, "bin", "uv"),
		uv); err != nil { // it brings one along; the same uv and cache for all
		b.Fatal(err)
	}
	python := must[rpc.EnvListResult](h, rpc.MethodEnvList, nil).Envs[0].PythonVersion
	// Both have all that they need in the cache; a uv that may ask the index would wait for the network now and then.
	env := []string{"UV_CACHE_DIR=" + h.bareCache(b), "UV_OFFLINE=1"}
	next := pairs()
	uses := func(needs []string) string { return "import " + strings.Join(needs, ", ") }
	script := func(needs []string) string {
		path := filepath.Join(h.home, strings.Join(needs, "-")+".py")
		h.write(filepath.Base(path), fmt.Sprintf("# /// script\n# dependencies = [%q, %q]\n# ///\n%s\n", needs[0],
			needs[1], uses(needs)))
		return path
	}
	notebook := func(needs []string) string {
		path := filepath.Join(h.home, strings.Join(needs, "-")+".ipynb")
		h.write(filepath.Base(path), fmt.Sprintf(`{"cells": [{"cell_type": "code", "id": "a", "metadata": {},
			"execution_count": null, "outputs": [], "source": %q}],
			"metadata": {"kernelspec": {"name": "warm", "display_name": "warm", "language": "python"}},
			"nbformat": 4, "nbformat_minor": 5}`, uses(needs)))
		return path
	}
	var all []compared
	for _, r := range []rivals{
		{
			"runt run --with A --with B", "uv run --with A --with B",
			func(needs []string) []string {
				return append(append([]string{uv, "run", "--no-project", "--python", python}, withEach(needs)...),
					"python", "-c", uses(needs))
			},
			func(needs []string) []string {
				return append(append([]string{runtProgram, "run"}, withEach(needs)...), "--", "python", "-c",
					uses(needs))
			},
		},
		{
			"runt run SCRIPT, with PEP 723", "uv run SCRIPT",
			func(needs []string) []string { return []string{uv, "run", "--python", python, script(needs)} },
			func(needs []string) []string { return []string{runtProgram, "run", script(needs)} },
		},
		{
			"a notebook in a kernel: nbclient, runt kernel", "juv exec, without a kernel",
			func(needs []string) []string {
				return append(append([]string{juv + "/bin/juv", "exec", "--python", python}, withEach(needs)...),
					notebook(needs))
			},
			func(needs []string) []string {
				h.kernelspec("warm", append(withEach(needs), "--on-restart", "fresh")...)
				return []string{front + "/bin/python", front + "/bin/jupyter-execute", notebook(needs)}
			},
		},
	} {
		all = append(all, h.compare(b, r, next, sets, env))
	}
	// juv has kernels in a browser only: its exec runs the cells as one script. This is the same with the pool.
	for turn, name := range turns {
		report(b, "its cells as a script: runt run SCRIPT, "+name, all[1].ours[turn], all[2].theirs[turn], "juv exec")
	}
}
