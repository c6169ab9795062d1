//go:build e2e && unix

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"runtimed/rpc"
)

// A project is compared with what the reference tool makes of it. The archives in testdata/projects hold several of
// each kind.

// sample is a project in an archive.
type sample struct {
	kind, name string
	files      map[string]string
}

// samples are those of one archive, in its order.
func samples(t testing.TB, kind string) (list []sample) {
	t.Helper()
	a, err := txtar.ParseFile(filepath.Join("testdata", "projects", kind+".txtar"))
	check(t, err)
	for _, f := range a.Files {
		name, path, _ := strings.Cut(f.Name, "/")
		if len(list) == 0 || list[len(list)-1].name != name {
			list = append(list, sample{kind, name, map[string]string{}})
		}
		list[len(list)-1].files[path] = string(f.Data)
	}
	return list
}

// unpack writes the project below the house's home, with its repository and lock file.
func (s sample) unpack(h *house) (dir string) {
	h.t.Helper()
	home, err := filepath.EvalSymlinks(h.home)
	check(h.t, err)
	dir = filepath.Join(home, "work", s.kind, s.name)
	for path, text := range s.files {
		path = filepath.Join(dir, path)
		check(h.t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(h.t, os.WriteFile(path, []byte(strings.ReplaceAll(text, "$DIR", dir)), 0o644))
	}
	if repo := filepath.Join(dir, "repo"); isThere(repo) {
		for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "-A"}, {"commit", "-q", "-m", "one"},
			{"tag", "v1"}} {
			h.in(repo, "git", append([]string{"-c", "user.name=x", "-c", "user.email=x@x.invalid"}, args...)...)
		}
	}
	if isThere(filepath.Join(dir, "requirements.in")) {
		h.in(dir, h.uvPath(), "pip", "compile", "--quiet", "--generate-hashes", "--python", h.python(), "-o",
			"requirements.txt", "requirements.in")
	}
	if strings.HasPrefix(s.kind, "uv-") {
		h.in(filepath.Join(dir, s.member()), h.uvPath(), "lock", "--quiet", "--python", h.python())
	}
	return dir
}

// member is the folder of the notebook's project below that of the sample.
func (s sample) member() string { return strings.TrimSpace(s.files["AT"]) }

// asks is what an acquire asks for, with the project at dir.
func (s sample) asks(dir string) *rpc.ProjectParams {
	p := &rpc.ProjectParams{Path: filepath.Join(dir, s.member())}
	if strings.HasPrefix(s.kind, "requirements-") {
		p.Path = filepath.Join(dir, "requirements.txt") // else a pyproject.toml beside it counts first
	}
	for line := range strings.Lines(s.files["WANTS"]) {
		what, names, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch what {
		case "extras":
			p.Extras = strings.Fields(names)
		case "groups":
			p.Groups = strings.Fields(names)
		}
	}
	return p
}

// reference makes the environment with uv alone.
func (s sample) reference(h *house, dir string, p *rpc.ProjectParams) (python string) {
	h.t.Helper()
	env := filepath.Join(h.home, "reference", s.kind, s.name)
	python = filepath.Join(env, "bin", "python")
	if strings.HasPrefix(s.kind, "requirements-") {
		h.in(dir, h.uvPath(), "venv", "--quiet", "--no-project", "--python", h.python(), env)
		h.in(dir, h.uvPath(), "pip", "install", "--quiet", "--python", python, "-r", "requirements.txt")
		return python
	}
	args := []string{"UV_PROJECT_ENVIRONMENT=" + env, h.uvPath(), "sync", "--quiet", "--frozen", "--python", h.python()}
	for _, e := range p.Extras {
		args = append(args, "--extra", e)
	}
	for _, g := range p.Groups {
		args = append(args, "--group", g)
	}
	h.in(filepath.Join(dir, s.member()), "env", args...)
	return python
}

// in runs a command in a folder, as the user.
func (h *house) in(dir, program string, args ...string) string {
	h.t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Dir = append(h.env, "RUNTIMED_NO_START=1"), dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.t.Fatalf("%s %v in %s: %v: %s", program, args, dir, err, out)
	}
	return string(out)
}

func (h *house) uvPath() string {
	bin, err := realUV()
	check(h.t, err)
	return filepath.Join(bin, "uv")
}

// of is the same house in a part of the test.
func (h *house) of(t *testing.T) *house {
	part := *h
	part.t = t
	return &part
}

// python is the pool's Python.
func (h *house) python() string {
	h.t.Helper()
	for _, e := range must[rpc.EnvListResult](h, rpc.MethodEnvList, nil).Envs {
		if e.Python != "" && e.Kind == "uv" {
			out, err := exec.Command(e.Python, "-c", "import sys; print(sys._base_executable)").Output()
			check(h.t, err)
			return strings.TrimSpace(string(out))
		}
	}
	h.t.Fatal("no environment tells")
	return ""
}

// installedScript prints what is installed: name, version, and where it was installed from, if that is not the index.
const installedScript = `
import importlib.metadata as m, json, re
found = {}
for d in m.distributions():
    url = json.loads(d.read_text("direct_url.json") or "{}")
    url.get("vcs_info", {}).pop("requested_revision", None)
    found[re.sub("[-_.]+", "-", d.metadata["Name"]).lower()] = [d.version, url]
print(json.dumps(found))`

func installed(t testing.TB, python string) (found map[string]any) {
	t.Helper()
	out, err := exec.Command(python, "-I", "-c", installedScript).Output()
	check(t, err)
	check(t, json.Unmarshal(out, &found))
	return found
}

// looks is a picture of all files below a folder but those that a build back end writes.
func looks(t testing.TB, dir string) (list []string) {
	t.Helper()
	check(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch name := e.Name(); {
		case name == "build", strings.HasSuffix(name, ".egg-info"), name == "__pycache__":
			return filepath.SkipDir
		case name == ".git":
			return filepath.SkipDir
		}
		info, err := e.Info()
		if err == nil && !e.IsDir() {
			list = append(list, fmt.Sprintf("%s %d %d", path, info.Size(), info.ModTime().UnixNano()))
		} else if err == nil {
			list = append(list, path)
		}
		return err
	}))
	return list
}

var uvKinds = []string{"uv-workspace", "uv-extras", "uv-git", "uv-path", "requirements-hashes", "requirements-editable"}

func TestAProjectHasWhatTheReferenceToolGivesIt(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withUV()
	h.configure("[pools.uv]\nsize = 1\nstandby = 0\n[projects]\nwarm = 0\n[build]\nmin_free = \"\"\n")
	h.start()
	h.filled("uv", 3*time.Minute)
	for _, kind := range uvKinds {
		list := samples(t, kind)
		if len(list) < 8 {
			t.Errorf("%s has %d projects", kind, len(list))
		}
		if os.Getenv("RUNTIMED_SOAK") == "" {
			list = list[len(kind)%len(list):][:1]
		}
		for _, s := range list {
			t.Run(s.kind+"/"+s.name, func(t *testing.T) { s.compare(h, t) })
		}
	}
}

func (s sample) compare(all *house, t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil && s.kind == "uv-git" {
		lacking(t, "there is no git")
	}
	h := all.of(t)
	dir := s.unpack(h)
	p := s.asks(dir)
	want := installed(t, s.reference(h, dir, p))
	before := looks(t, dir)
	r, err := ask[rpc.AcquireResult](h, rpc.MethodAcquire, rpc.AcquireParams{Project: p, OwnerPID: new(os.Getpid()),
		WaitMS: new(int64(300_000))})
	if err != nil {
		e, _ := errors.AsType[*rpc.Error](err)
		t.Fatalf("%v: %+v", err, e)
	}
	got := installed(t, r.Env.Python)
	for name, is := range want {
		if fmt.Sprint(got[name]) != fmt.Sprint(is) {
			t.Errorf("%s is %v, and not %v", name, got[name], is)
		}
	}
	if got["ipykernel"] == nil || len(got) < len(want)+10 {
		t.Errorf("no kernel was added: %v", got)
	}
	if out, err := exec.Command(h.uvPath(), "pip", "check", "--python", r.Env.Python).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if after := looks(t, dir); !slices.Equal(before, after) {
		t.Errorf("the project was changed:\n%s\nnow:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	if r.Env.Project == nil || !strings.HasPrefix(r.Env.Project.File, dir) {
		t.Errorf("%+v", r.Env.Project)
	}
	must[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: r.Env.ID})
}
