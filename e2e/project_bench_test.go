//go:build e2e && unix

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"runtimed/rpc"
)

// benchProject is a project with about 40 locked packages, ipykernel among them, so that uv alone has a kernel too.
func (h *house) benchProject(b *testing.B) (dir string) {
	b.Helper()
	dir = h.project("bench", map[string]string{
		"pyproject.toml": projectTOML("bench", "httpx", "rich<14", "jinja2", "attrs", "pyyaml", "tabulate") +
			"[dependency-groups]\ndev = [\"ipykernel\"]\n",
		"src/bench/__init__.py": "",
	})
	h.in(dir, h.uvPath(), "lock", "--quiet", "--python", h.python())
	return dir
}

// another is another state of the project: its lock file still has all that it asks for.
func (h *house) another(dir string, n int) {
	h.t.Helper()
	path := filepath.Join(dir, "pyproject.toml")
	text, err := os.ReadFile(path)
	check(h.t, err)
	text = []byte(strings.Split(string(text), "\n# state")[0] + fmt.Sprintf("\n# state %d\n", n))
	check(h.t, os.WriteFile(path, text, 0o644))
}

func BenchmarkProjectBesideUVSync(b *testing.B) {
	const rounds = 5
	h := benchHouse(b)
	h.configure("[pools.uv]\nsize = 1\n[projects]\nwarm = 0\n")
	h.start()
	h.filled("uv", 10*time.Minute)
	dir, uv, python := h.benchProject(b), h.uvPath(), h.python()
	params := of(dir)
	var theirs, ours []time.Duration
	for i := range rounds + 1 {
		env := filepath.Join(h.home, "bare", strconv.Itoa(i))
		began := time.Now()
		h.in(dir, "env", "UV_PROJECT_ENVIRONMENT="+env, uv, "sync", "--quiet", "--frozen", "--python", python)
		h.in(dir, filepath.Join(env, "bin", "python"), "-c", "import ipykernel.kernelapp, ipykernel.debugger")
		bare := time.Since(began)

		h.another(dir, i)
		began = time.Now()
		r := h.acquire(params)
		if took := time.Since(began); i > 0 { // the first one fills the caches
			theirs, ours = append(theirs, bare), append(ours, took)
		}
		if r.Source != rpc.SourceBuilt {
			b.Fatal(r.Source)
		}
		if i == 0 {
			fmt.Printf("a project with %d packages\n", len(r.Env.Packages))
		}
		must[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: r.Env.ID})
		h.eventually(time.Minute, "what was given back is gone", func() bool {
			return len(must[rpc.EnvListResult](h, rpc.MethodEnvList, nil).Envs) == 1
		})
	}
	report(b, "a project's environment for the first time, caches warm: <= 1.3", median(ours), median(theirs),
		"uv sync --frozen + a kernel import")
}

func BenchmarkProjectAgain(b *testing.B) {
	const rounds = 7
	h := benchHouse(b)
	h.configure("[pools.uv]\nsize = 1\n")
	h.start()
	h.filled("uv", 10*time.Minute)
	dir, uv := h.benchProject(b), h.uvPath()
	params := of(dir)
	kept := func() {
		h.eventually(time.Minute, "one is ready, and nothing else happens", func() bool {
			ready := false
			for _, e := range must[rpc.EnvListResult](h, rpc.MethodEnvList, nil).Envs {
				if e.State != rpc.EnvReady {
					return false
				}
				ready = ready || e.Project != nil
			}
			return ready
		})
	}
	release := func(r rpc.AcquireResult) {
		must[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: r.Env.ID})
		kept()
	}
	release(h.acquire(params))
	var hits, changed []time.Duration
	for range rounds {
		began := time.Now()
		r := h.acquire(params)
		if hits = append(hits, time.Since(began)); r.Source != rpc.SourceReady {
			b.Fatal(r.Source)
		}
		release(r)
	}
	report(b, "the same project again: <= 5 ms", median(hits), 5*time.Millisecond, "goal")

	run := []string{runtProgram, "run", "--project", dir, "--", "python", "-c", "1"}
	theirs := []string{uv, "run", "--project", dir, "--", "python", "-c", "1"}
	var first, second []time.Duration
	h.timedWith(b, h.env, theirs...)
	for range rounds {
		first = append(first, h.timedWith(b, h.env, theirs...))
		second = append(second, h.timedWith(b, h.env, run...))
		kept()
	}
	report(b, "runt run --project . -- python -c 1, again: <= 0.5", median(second), median(first), "uv run")

	for i := range rounds {
		pinned := []string{"iniconfig==2.0.0", "iniconfig==2.1.0"}[i%2]
		h.in(dir, uv, "add", "--quiet", "--no-sync", pinned)
		began := time.Now()
		r := h.acquire(params)
		if r.Source != rpc.SourceExtended && i > 1 {
			b.Log(r.Source)
		}
		changed = append(changed, time.Since(began))
		release(r)
	}
	report(b, "a changed lock file, from the environment of the one before", median(changed), time.Second, "1 s")
}
