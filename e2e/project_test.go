//go:build e2e && unix

package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"runtimed/pool/builder"
	"runtimed/rpc"
)

// projectHouse is a house with one warm environment, and uv.
func projectHouse(t *testing.T, more string) *house {
	t.Helper()
	h := newHouse(t).withUV()
	h.configure("[pools.uv]\nsize = 1\n" + more)
	h.start()
	h.filled("uv", 3*time.Minute)
	return h
}

// project writes files of a project and returns its folder. A name that ends with / is a folder.
func (h *house) project(name string, files map[string]string) string {
	h.t.Helper()
	s := sample{name: name, files: files}
	return s.unpack(h)
}

// projectTOML is the manifest of a project with these dependencies, which is a package.
func projectTOML(name string, dependencies ...string) string {
	list, err := json.Marshal(dependencies)
	if err != nil || dependencies == nil {
		list = []byte("[]")
	}
	return "[project]\nname = \"" + name + "\"\nversion = \"0.1.0\"\nrequires-python = \">=3.9\"\ndependencies = " +
		string(list) + "\n[build-system]\nrequires = [\"hatchling\"]\nbuild-backend = \"hatchling.build\"\n"
}

// of asks for an environment of the project at dir.
func of(dir string) rpc.AcquireParams {
	return rpc.AcquireParams{Project: &rpc.ProjectParams{Path: dir}, OwnerPID: new(os.Getpid()),
		WaitMS: new(int64(180_000))}
}

// refused is the error of an acquire.
func (h *house) refusedProject(p rpc.AcquireParams) *rpc.Error {
	h.t.Helper()
	r, err := ask[rpc.AcquireResult](h, rpc.MethodAcquire, p)
	var e *rpc.Error
	if !errors.As(err, &e) {
		h.t.Fatalf("%v, %+v", err, r.Env)
	}
	return e
}

const versionOf = "import importlib.metadata as m; print(m.version('%s'))"

func version(name string) string { return strings.ReplaceAll(versionOf, "%s", name) }

func TestANotebookInAProjectHasItsModulesAndFollowsItsLockFile(t *testing.T) {
	t.Parallel()
	h := projectHouse(t, "")
	dir := h.project("analysis", map[string]string{
		"pyproject.toml": projectTOML("analysis", "iniconfig==2.0.0"), "src/analysis/__init__.py": "ANSWER = 42\n",
		"notebooks/": "",
	})
	h.in(dir, h.uvPath(), "lock", "--quiet")
	h.kernelspec("project", "--project", "auto", "--")
	j := h.jupyter()
	notebook := step{"kernel": "project", "cwd": h.home, "env": map[string]string{
		"JPY_SESSION_NAME": filepath.Join(dir, "notebooks", "one.ipynb")}}
	j.do("start", notebook)
	if got := j.cell("import analysis; print(analysis.ANSWER, analysis.__file__)"); got !=
		"42 "+filepath.Join(dir, "src/analysis/__init__.py")+"\n" {
		t.Errorf("%q", got)
	}
	if got := j.cell(version("iniconfig")); got != "2.0.0\n" {
		t.Errorf("%q", got)
	}
	prefix := j.cell("import sys; print(sys.prefix)")
	j.do("restart", nil)
	if again := j.cell("import sys; print(sys.prefix)"); again != prefix {
		t.Errorf("restarted in %s, not in %s", again, prefix)
	}
	// An editable module is followed as it is; a changed lock file has a restart get another environment.
	h.write("work/analysis/src/analysis/__init__.py", "ANSWER = 43\n")
	h.in(dir, h.uvPath(), "add", "--quiet", "--no-sync", "iniconfig==2.1.0")
	j.do("restart", nil)
	if got := j.cell("import analysis; print(analysis.ANSWER)") + j.cell(version("iniconfig")); got != "43\n2.1.0\n" {
		t.Errorf("%q", got)
	}
	j.do("shutdown", nil)

	h.eventually(time.Minute, "one is kept for the next notebook", func() bool {
		for _, e := range must[rpc.EnvListResult](h, rpc.MethodEnvList, nil).Envs {
			if e.State == rpc.EnvReady && e.Project != nil && e.Project.Path == dir {
				return true
			}
		}
		return false
	})
	if r := h.acquire(of(dir)); r.Source != rpc.SourceReady {
		t.Errorf("%s after %d ms", r.Source, r.WaitedMS)
	}
	out, errs, code := h.runtEnds("", "run", "--project", dir, "--", "python", "-c", version("iniconfig"))
	if out != "2.1.0\n" || errs != "" || code != 0 {
		t.Errorf("%d %q %q", code, out, errs)
	}
}

func TestWithoutAProjectAKernelSaysSoFirst(t *testing.T) {
	t.Parallel()
	h := projectHouse(t, "")
	h.kernelspec("project", "--project", "auto", "--")
	for name, variables := range map[string]map[string]string{
		"a standby": nil, "a plain kernel": {"RUNTIMED_STANDBY": "0"},
	} {
		j := h.jupyter()
		j.do("start", step{"kernel": "project", "cwd": h.home, "env": variables})
		if got := j.cell("from IPython import get_ipython as g; print(g().kernel.banner)"); !strings.HasPrefix(got,
			"Note: there is no project here: this environment has the packages of the pool uv.\nPython 3") {
			t.Errorf("%s: %q", name, got)
		}
		j.do("shutdown", nil)
	}
	out, errs, code := h.runtEnds("", "run", "--project", "--", "python", "-c", "print(1)")
	if out != "1\n" || code != 0 || !strings.HasPrefix(errs, "runt: there is no project here") {
		t.Errorf("%d %q %q", code, out, errs)
	}
	out, errs, code = h.runtEnds("", "run", "--project", ".", "--", "python", "-c", "print(1)")
	if out != "" || code == 0 || !strings.HasPrefix(errs, "runt: error: there is no project at ") {
		t.Errorf("%d %q %q", code, out, errs)
	}
}

func TestAProjectThatCannotBeHadIsATrueError(t *testing.T) {
	t.Parallel()
	h := projectHouse(t, "")
	locked := func(name string, files map[string]string) string {
		dir := h.project(name, files)
		h.in(dir, h.uvPath(), "lock", "--quiet")
		return dir
	}
	kind := func(e *rpc.Error) string { return e.Data.Kind + " " + e.Data.Cause }

	outdated := locked("outdated", map[string]string{"pyproject.toml": projectTOML("outdated", "iniconfig"),
		"outdated/__init__.py": ""})
	h.write("work/outdated/pyproject.toml", projectTOML("outdated", "iniconfig", "toolz"))
	e := h.refusedProject(of(outdated))
	if kind(e) != "build_failed "+builder.CauseLockOutdated || !strings.Contains(e.Message, "uv.lock is older than") ||
		!strings.Contains(e.Data.Hint, "uv lock") || !strings.Contains(e.Data.Output, "needs to be updated") {
		t.Errorf("%v %+v", e, e.Data)
	}
	frozen := of(outdated)
	frozen.Project.Frozen = new(true)
	if r := h.acquire(frozen); r.Env.Project == nil {
		t.Errorf("%+v", r.Env)
	}

	e = h.refusedProject(of(locked("header", map[string]string{
		"pyproject.toml": "[project]\nname = \"header\"\nversion = \"1\"\nrequires-python = \">=3.9\"\n" +
			"dependencies = [\"native\"]\n[tool.uv.sources]\nnative = { path = \"native\" }\n",
		"native/setup.py": "from setuptools import setup, Extension\n" +
			"setup(name='native', version='1', ext_modules=[Extension('native', ['native.c'])])\n",
		"native/native.c": "#include <no-such-library.h>\n",
	})))
	if kind(e) != "build_failed "+builder.CauseSourceBuild || e.Data.Package != "native" || e.Data.Output == "" {
		t.Errorf("%v %+v", e, e.Data)
	}
	if _, err := exec.LookPath("cc"); err == nil && !strings.Contains(e.Data.Hint, "no-such-library.h") {
		t.Errorf("%s", e.Data.Hint)
	}

	locks := map[string]string{"pyproject.toml": projectTOML("locks", "iniconfig==2.0.0"), "locks/__init__.py": ""}
	more := of(locked("locks", locks))
	more.Packages = []string{"iniconfig>2"}
	if e = h.refusedProject(more); kind(e) != "build_failed "+builder.CauseUnsatisfiable ||
		!strings.Contains(e.Message, "cannot be added without changing a version") {
		t.Errorf("%v %+v", e, e.Data)
	}
	more.Packages = []string{"toolz"}
	if r := h.acquire(more); len(r.Env.Needs) != 1 {
		t.Errorf("%+v", r.Env)
	}

	e = h.refusedProject(of(h.project("snake", map[string]string{"pyproject.toml": "[project]\nname = \"snake\"\n" +
		"version = \"1\"\nrequires-python = \">=3.98\"\n"})))
	if kind(e) != "build_failed "+builder.CausePythonMissing || !strings.Contains(e.Message, ">=3.98") {
		t.Errorf("%v %+v", e, e.Data)
	}
	e = h.refusedProject(of(h.project("torn", map[string]string{"pyproject.toml": "[project]\nname = \"torn\"\n" +
		"version = \"1\"\nrequires-python = \"<3.9\"\n", ".python-version": "3.12\n"})))
	if kind(e) != "build_failed "+builder.CausePythonMissing {
		t.Errorf("%v %+v", e, e.Data)
	}

	// A build back end may change what the environment is made from while it is made.
	moving := h.project("moving", map[string]string{"requirements.txt": "./own\n", "own/setup.py": "import pathlib\n" +
		"with open(pathlib.Path(__file__).parent.parent / 'requirements.txt', 'a') as f: f.write('# more\\n')\n" +
		"from setuptools import setup\nsetup(name='own', version='1', py_modules=[])\n"})
	if e = h.refusedProject(of(moving)); kind(e) != "build_failed "+builder.CauseProjectChanged {
		t.Errorf("%v %+v", e, e.Data)
	}

	no := h.refusedProject(of(filepath.Join(h.home, "nowhere")))
	if no.Data.Kind != rpc.KindInvalidParams || no.Data.Param != "project" || no.Data.Hint == "" {
		t.Errorf("%v %+v", no, no.Data)
	}
	if no = h.refusedProject(of(h.home)); no.Data.Kind != rpc.KindNoProject {
		t.Errorf("%v %+v", no, no.Data)
	}
	conda := h.project("conda", map[string]string{"environment.yml": "dependencies: [python]\n"})
	if no = h.refusedProject(of(conda)); no.Data.Kind != rpc.KindPoolOff { // the house has no conda pool
		t.Errorf("%v %+v", no, no.Data)
	}
	if s := h.pool("uv"); s.Available != 1 || s.Error != nil {
		t.Errorf("the pool: %+v", s)
	}
}

// Names of the index would not do: these packages are there alone.
func TestAProjectSaysWhereItsPackagesComeFrom(t *testing.T) {
	t.Parallel()
	h := projectHouse(t, "")
	h.wheel("theirs")
	wheel, err := os.ReadFile(filepath.Join(h.home, "theirs-1.0-py3-none-any.whl"))
	check(t, err)
	uvToml := "[[index]]\nname = \"own\"\nurl = \"./wheels\"\nformat = \"flat\"\nexplicit = true\n"
	of1 := func(text string) string {
		return "[project]\nname = \"p\"\nversion = \"1\"\nrequires-python = \">=3.9\"\n" +
			"dependencies = [\"theirs\"]\n" + text
	}
	for name, files := range map[string]map[string]string{
		"an option":  {"requirements.txt": "--find-links ./wheels\ntheirs==1.0\ntoolz\n"},
		"in another": {"requirements.txt": "-r more/base.txt\n", "more/base.txt": "-f ../wheels\ntheirs\n"},
		"a setting":  {"requirements.txt": "theirs\n", "uv.toml": "find-links = [\"./wheels\"]\n"},
		"an index": {"pyproject.toml": of1("[tool.uv.sources]\ntheirs = { index = \"own\" }\n" +
			strings.Replace(uvToml, "[[index]]", "[[tool.uv.index]]", 1))},
		"a lock file": {"pyproject.toml": of1("[tool.uv.sources]\ntheirs = { index = \"own\" }\n" +
			strings.Replace(uvToml, "[[index]]", "[[tool.uv.index]]", 1)), "LOCK": ""},
	} {
		files["wheels/theirs-1.0-py3-none-any.whl"] = string(wheel)
		dir := h.project(strings.ReplaceAll(name, " ", "-"), files)
		if _, locked := files["LOCK"]; locked {
			h.in(dir, h.uvPath(), "lock", "--quiet")
		}
		r, err := ask[rpc.AcquireResult](h, rpc.MethodAcquire, of(dir))
		if err != nil {
			e, _ := errors.AsType[*rpc.Error](err)
			t.Errorf("%s: %v: %+v", name, err, e)
			continue
		}
		if got := installed(t, r.Env.Python); got["theirs"] == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// uv pip would install into that folder, and remove what is in it.
func TestASettingOfAProjectLeadsToNoOtherFolder(t *testing.T) {
	t.Parallel()
	h := projectHouse(t, "")
	precious := filepath.Join(h.home, "precious")
	check(t, os.MkdirAll(filepath.Join(precious, "rich-1.0.dist-info"), 0o755))
	settings := "[pip]\ntarget = \"" + precious + "\"\nprefix = \"" + precious + "\"\nsystem = true\n"
	for name, files := range map[string]map[string]string{
		"by uv.toml": {"requirements.txt": "toolz\n", "uv.toml": settings},
		"by pyproject.toml": {"pyproject.toml": "[project]\nname = \"p\"\nversion = \"1\"\n" +
			"requires-python = \">=3.9\"\ndependencies = [\"toolz\"]\n" +
			strings.Replace(settings, "[pip]", "[tool.uv.pip]", 1)},
	} {
		before := looks(t, precious)
		r := h.acquire(of(h.project(strings.ReplaceAll(name, " ", "-"), files)))
		if got := installed(t, r.Env.Python); got["toolz"] == nil {
			t.Errorf("%s: %v", name, got)
		}
		if after := looks(t, precious); len(after) != len(before) {
			t.Errorf("%s: %q", name, after)
		}
	}
}
