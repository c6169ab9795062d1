//go:build e2e && unix

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"runtimed/internal/project"
	"runtimed/rpc"
)

// rattler runs the tool with which projects of conda are compared, in the venv that the daemon has made for itself.
func (h *house) rattler(args ...string) string {
	h.t.Helper()
	found, err := filepath.Glob(h.state("tools", "rattler-*", "bin", "python"))
	if err != nil || len(found) != 1 {
		h.t.Fatal(found, err)
	}
	script, err := filepath.Abs("../testdata/tools/conda_solve.py")
	check(h.t, err)
	return h.in(h.home, found[0], append([]string{"-I", script}, args...)...)
}

// solution is what rattler makes of match specs, by name.
func (h *house) solution(channel string, specs []string) map[string]string {
	h.t.Helper()
	versions := map[string]string{}
	for line := range strings.Lines(h.rattler(append([]string{"solve", channel}, specs...)...)) {
		if name, version, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			versions[name] = version
		}
	}
	return versions
}

// indexWheel is a wheel of the index, in a lock file.
type indexWheel struct{ name, version, url, sum string }

// resolved are the pure wheels that uv makes of requirements, without those that are there already.
func (h *house) resolved(dir string, lines []string, there map[string]string) (list []indexWheel) {
	h.t.Helper()
	in, out := filepath.Join(h.home, "in.txt"), filepath.Join(h.home, "pylock.out.toml")
	check(h.t, os.WriteFile(in, []byte(strings.Join(lines, "\n")+"\n"), 0o644))
	h.in(dir, h.uvPath(), "pip", "compile", "--quiet", "--python", h.python(), "--format", "pylock.toml", "-o", out, in)
	text, err := os.ReadFile(out)
	check(h.t, err)
	var lock struct {
		Packages []struct {
			Name, Version string
			Wheels        []struct {
				URL    string
				Hashes map[string]string
			}
		}
	}
	check(h.t, toml.Unmarshal(text, &lock))
	for _, p := range lock.Packages {
		for _, w := range p.Wheels {
			if there[p.Name] == "" && strings.HasSuffix(w.URL, "-none-any.whl") {
				list = append(list, indexWheel{p.Name, p.Version, w.URL, w.Hashes["sha256"]})
				break
			}
		}
	}
	return list
}

// lockPixi writes the pixi.lock of the project at dir, and returns what it has.
func (h *house) lockPixi(dir, channel string) map[string]string {
	h.t.Helper()
	p, err := project.Find(project.Request{Path: dir})
	check(h.t, err)
	want := h.solution(channel, p.Specs)
	args := []string{"lock", channel, project.CondaSubdir(), filepath.Join(dir, "pixi.lock"),
		strings.Join(p.Specs, " ")}
	var fetched []string
	for _, line := range p.Pip {
		if path, editable := strings.CutPrefix(line, "-e "); editable {
			name := filepath.Base(path) + "-lib"
			args, want[name] = append(args, name+"|0.1.0|"+path), "0.1.0"
		} else {
			fetched = append(fetched, line)
		}
	}
	wheels := h.resolved(dir, fetched, want)
	for _, w := range wheels {
		args, want[w.name] = append(args, w.name+"|"+w.version+"|"+w.url), w.version
	}
	h.rattler(args...)
	path := filepath.Join(dir, "pixi.lock")
	text, err := os.ReadFile(path)
	check(h.t, err)
	for _, w := range wheels { // rattler's Python has no way to add a hash
		at := regexp.MustCompile(`(?m)^- pypi: ` + regexp.QuoteMeta(w.url) + `\n  name: .*\n  version: .*\n`)
		text = at.ReplaceAll(text, []byte("${0}  sha256: "+w.sum+"\n"))
	}
	check(h.t, os.WriteFile(path, text, 0o644))
	return want
}

func TestAProjectOfCondaHasWhatTheReferenceToolGivesIt(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withChannel("")
	h.configure("[conda]\nprovider = \"rattler\"\n[projects]\nwarm = 0\n[build]\nmin_free = \"\"\n[pools.uv]\n" +
		"size = 1\n[pools.conda]\nsize = 1\nstandby = 0\nchannels = [\"file://" + h.channel() + "\"]\n")
	h.start()
	h.filled("conda", 3*time.Minute)
	h.filled("uv", 3*time.Minute)
	channel := "file://" + h.channel()
	for _, kind := range []string{"environment", "pixi"} {
		list := samples(t, kind)
		if len(list) < 8 {
			t.Errorf("%s has %d projects", kind, len(list))
		}
		if os.Getenv("RUNTIMED_SOAK") == "" {
			list = list[:1]
		}
		for _, s := range list {
			for path, text := range s.files {
				s.files[path] = strings.NewReplacer("$CHANNEL", channel, "$PLATFORM",
					project.CondaSubdir()).Replace(text)
			}
			t.Run(s.kind+"/"+s.name, func(t *testing.T) { s.compareConda(h.of(t), channel) })
		}
	}
}

func (s sample) compareConda(h *house, channel string) {
	t := h.t
	t.Helper()
	dir := s.unpack(h)
	path := dir
	if s.kind == "environment" { // else a pyproject.toml beside it counts first
		found, err := filepath.Glob(filepath.Join(dir, "environment.y*ml"))
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		path = found[0]
	}
	p, err := project.Find(project.Request{Path: path})
	check(t, err)
	var want map[string]string
	if s.kind == "pixi" {
		want = h.lockPixi(dir, channel)
	} else {
		want = h.solution(channel, p.Specs)
	}
	before := looks(t, dir)
	params := of(path)
	r, err := ask[rpc.AcquireResult](h, rpc.MethodAcquire, params)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	if r.Env.Pool != "conda" || r.Env.Project == nil {
		t.Errorf("%+v", r.Env)
	}
	got := map[string]string{}
	for _, p := range r.Env.Packages {
		got[p.Name] = p.Version
	}
	for name, version := range want {
		if got[name] != version {
			t.Errorf("%s is %q, and not %s", name, got[name], version)
		}
	}
	if s.kind == "environment" && len(p.Pip) > 0 { // uv finds nothing to do
		args := []string{"pip", "install", "--dry-run", "--break-system-packages", "--python", r.Env.Python}
		for _, line := range p.Pip {
			if !strings.HasPrefix(line, "-e ") { // which it always installs again
				args = append(args, strings.Fields(line)...) // -r is an option there, too
			}
		}
		said := ""
		if len(args) > 6 {
			said = h.in(dir, h.uvPath(), args...)
		}
		if strings.Contains(said, "Would install") {
			t.Errorf("uv would add: %s", said)
		}
	}
	h.in(dir, r.Env.Python, "-c", "import ipykernel.kernelapp")
	if isThere(filepath.Join(dir, "src", "own_thing")) {
		h.in(dir, r.Env.Python, "-c", "import own_thing")
	}
	if after := looks(t, dir); !slices.Equal(before, after) {
		t.Errorf("the project was changed:\n%s\nnow:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	must[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: r.Env.ID})
}
