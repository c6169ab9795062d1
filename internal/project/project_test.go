package project

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree writes files below a new folder, which it returns without links. A name that ends with / is a folder.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		parent := filepath.Dir(path)
		if strings.HasSuffix(name, "/") {
			parent = path
		}
		if err := os.MkdirAll(parent, 0o755); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, "/") {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// rooted is an absolute path of this system.
func rooted(path string) string {
	if runtime.GOOS == "windows" {
		return "C:" + filepath.FromSlash(path)
	}
	return path
}

const (
	someProject  = "[project]\nname = \"p\"\nversion = \"1\"\nrequires-python = \">=3.11\"\n"
	onlySettings = "[tool.ruff]\nline-length = 100\n"
	someLock     = "version = 1\nrequires-python = \">=3.11\"\n"
)

func TestTheFirstProjectOnTheWayUpIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		from  string
		kind  string // empty: none
		dir   string
	}{
		"a lock file": {map[string]string{"pyproject.toml": someProject, "uv.lock": someLock}, "", UVLock, ""},
		"a manifest":  {map[string]string{"pyproject.toml": someProject}, "", PyProject, ""},
		"from a folder below": {map[string]string{"uv.lock": someLock, "pyproject.toml": someProject, "a/b/": ""},
			"a/b", UVLock, ""},
		"from a notebook": {map[string]string{"requirements.txt": "", "nb/x.ipynb": "{}"}, "nb/x.ipynb",
			Requirements, ""},
		"the nearer one": {map[string]string{"uv.lock": "", "sub/requirements.txt": ""}, "sub", Requirements, "sub"},
		"the named file": {map[string]string{"pyproject.toml": someProject, "environment.yml": ""}, "environment.yml",
			Environment, ""},
		"another ending": {map[string]string{"environment.yaml": "dependencies: []"}, "", Environment, ""},
		"settings of tools do not count": {map[string]string{"pyproject.toml": onlySettings, "requirements.txt": ""},
			"", Requirements, ""},
		"settings of tools alone are none": {map[string]string{"pyproject.toml": onlySettings}, "", "", ""},
		"a project of pixi's": {map[string]string{"pixi.lock": "",
			"pyproject.toml": someProject + "[tool.pixi.workspace]\nchannels=[]\n"}, "", PixiLock, ""},
		"pylock before pixi": {map[string]string{"pylock.toml": "lock-version = \"1.0\"\n", "pixi.lock": ""}, "",
			PyLock, ""},
		"pixi without a lock file": {map[string]string{"pyproject.toml": "[tool.pixi.workspace]\nchannels=[]\n"}, "",
			Pixi, ""},
		"nothing": {nil, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := tree(t, c.files)
			p, err := Find(Request{Path: filepath.Join(dir, c.from)})
			if c.kind == "" {
				if !IsNone(err) {
					t.Fatalf("%+v, %v", p, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if p.Kind != c.kind || p.Path != filepath.Join(dir, c.dir) {
				t.Errorf("found %s in %s", p.Kind, p.Path)
			}
		})
	}
}

func TestAMemberUsesTheLockFileOfItsWorkspace(t *testing.T) {
	dir := tree(t, map[string]string{
		"pyproject.toml": someProject + "[tool.uv.workspace]\nmembers = [\"packages/*\"]\n" +
			"exclude = [\"packages/x\"]\n",
		"uv.lock":                   someLock,
		"packages/a/pyproject.toml": someProject,
		"packages/x/pyproject.toml": someProject,
		"other/pyproject.toml":      someProject,
	})
	if err := os.WriteFile(filepath.Join(dir, "packages/a/uv.lock"), nil, 0o644); err != nil { // uv does not read it
		t.Fatal(err)
	}
	for below, file := range map[string]string{
		"packages/a": "uv.lock", "packages/x": "packages/x/pyproject.toml", "other": "other/pyproject.toml",
	} {
		p, err := Find(Request{Path: filepath.Join(dir, below)})
		if err != nil {
			t.Fatal(err)
		}
		if p.Path != filepath.Join(dir, below) || p.File != filepath.Join(dir, file) {
			t.Errorf("%s: %s of %s", below, p.File, p.Path)
		}
	}
}

func TestALinkToAFileMeansTheFolderOfTheLink(t *testing.T) {
	dir := tree(t, map[string]string{"other/base.txt": "idna\n", "other/requirements.txt": "", "nb/": ""})
	link := filepath.Join(dir, "nb", "requirements.txt")
	if err := os.Symlink("../other/base.txt", link); err != nil && runtime.GOOS == "windows" {
		t.Skip("it takes a privilege: ", err)
	} else if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Readlink(link); err != nil {
		t.Skip("the system says that it made a link, and did not: ", err) // as Wine does
	}
	for _, path := range []string{link, filepath.Join(dir, "nb")} {
		if p, err := Find(Request{Path: path}); err != nil || p.File != link {
			t.Errorf("%s: %+v, %v", path, p, err)
		}
	}
}

func TestSettingsForUVAreTheNearest(t *testing.T) {
	dir := tree(t, map[string]string{
		"pyproject.toml": "[tool.uv]\nindex-url = \"https://above.invalid\"\n", "a/requirements.txt": "",
		"b/requirements.txt": "", "b/uv.toml": "find-links = [\"https://links.invalid\"]\n",
		"w/pyproject.toml": "[tool.uv]\nindex-url = \"https://root.invalid\"\n" +
			"[tool.uv.workspace]\nmembers = [\"m\"]\n",
		"w/m/pyproject.toml": someProject + "[tool.uv.sources]\nx = { workspace = true }\n",
	})
	for below, index := range map[string]string{"a": "https://above.invalid", "b": "https://links.invalid",
		"w/m": "https://root.invalid"} {
		p, err := Find(Request{Path: filepath.Join(dir, below)})
		if err != nil || len(p.Indexes) != 1 || p.Indexes[0] != index {
			t.Errorf("%s: %+v, %v", below, p, err)
		}
	}
}

func TestManyStarsMatchInNoTime(t *testing.T) {
	globs := []string{strings.Repeat("**/", 60) + "zz"}
	if matches(globs, strings.Repeat("a/", 60)+"b") || !matches(globs, strings.Repeat("a/", 60)+"zz") ||
		!matches([]string{"a/**/c"}, "a/c") || matches([]string{"a/*"}, "a") {
		t.Error("matched wrongly")
	}
}

func TestTheDigestChangesWithEveryFileThatCounts(t *testing.T) {
	files := map[string]string{
		"pyproject.toml":  someProject + "[tool.uv.sources]\nlib = { path = \"../lib\" }\n",
		"uv.lock":         someLock + "[[package]]\nname = \"m\"\nsource = { editable = \"m\" }\n",
		".python-version": "3.12\n", "uv.toml": "", "m/pyproject.toml": "", "m/setup.py": "", "unrelated.py": "",
	}
	dir := tree(t, files)
	digest := func() string {
		t.Helper()
		p, err := Find(Request{Path: dir})
		if err != nil {
			t.Fatal(err)
		}
		return p.Digest
	}
	before := digest()
	if digest() != before {
		t.Fatal("it changes by itself")
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text+"\n# more\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if changed := digest() != before; changed != (name != "unrelated.py") {
			t.Errorf("%s: changed is %v", name, changed)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFilesThatABuildBackEndReadsCount(t *testing.T) {
	dir := tree(t, map[string]string{
		"pyproject.toml": "[project]\nname = \"p\"\ndynamic = [\"dependencies\"]\n[tool.setuptools.dynamic]\n" +
			"dependencies = { file = [\"deps/base.list\"] }\n",
		"deps/base.list": "idna\n", "requirements.txt": "idna\n",
	})
	p, err := Find(Request{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"deps/base.list", "requirements.txt"} {
		before := p.Digest
		if err := os.WriteFile(filepath.Join(dir, name), []byte("rich\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if p, err = Find(Request{Path: dir}); err != nil || p.Digest == before {
			t.Errorf("%s does not count: %v", name, err)
		}
	}
}

func TestAProjectThatWasChangedIsNotReadAgain(t *testing.T) {
	dir := tree(t, map[string]string{"requirements.txt": "a"})
	p, err := Find(Request{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Again(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.File, []byte("b"), 0o644); err != nil {
		t.Fatal(err)
	}
	var e *Error
	if _, err := p.Again(); !errors.As(err, &e) || !e.Changed {
		t.Errorf("%v", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Again(); err == nil {
		t.Error("a folder that vanished was read")
	}
}

func TestAWorkspaceWithoutALockFileCountsAsAWhole(t *testing.T) {
	dir := tree(t, map[string]string{
		"pyproject.toml": someProject + "[tool.uv.workspace]\nmembers = [\"m/*\"]\n" +
			"[tool.uv.sources]\nlib = { path = \"lib\" }\n",
		"m/a/pyproject.toml": someProject, "lib/deep/pyproject.toml": someProject,
		"lib/pyproject.toml": someProject + "[tool.uv.sources]\ndeep = { path = \"deep\" }\n",
	})
	p, err := Find(Request{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"m/a", "lib", "lib/deep"} {
		before := p.Digest
		f, err := os.OpenFile(filepath.Join(dir, name, "pyproject.toml"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = f.WriteString("# more\n")
		_ = f.Close()
		if p, err = Find(Request{Path: dir}); err != nil || p.Digest == before {
			t.Errorf("%s does not count: %v", name, err)
		}
	}
}

func TestRequirementsLeadToOtherFiles(t *testing.T) {
	dir := tree(t, map[string]string{
		"requirements.txt": "-r more/base.txt\n--index-url https://u:p@index.invalid/simple\n-e ./lib[x]\n" +
			"rich # -r none.txt\n-r\tmore/tab.txt\t# a tab\npkgs/foo[y]\n-f ./wheels\n",
		"more/tab.txt": "", "pkgs/foo/setup.py": "",
		"more/base.txt":        "-c constraints.txt\n-r base.txt\nidna==3.10 \\\n  --hash=sha256:00\n",
		"more/constraints.txt": "rich<14\n", "lib/setup.py": "",
	})
	p, err := Find(Request{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	if !p.Hashed || len(p.Indexes) != 2 {
		t.Errorf("hashed %v, indexes %v", p.Hashed, p.Indexes)
	}
	before := p.Digest
	for _, name := range []string{"more/base.txt", "more/constraints.txt", "more/tab.txt", "lib/setup.py",
		"pkgs/foo/setup.py"} {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = f.WriteString("# x\n")
		_ = f.Close()
		if p, err = Find(Request{Path: dir}); err != nil || p.Digest == before {
			t.Errorf("%s does not count: %v", name, err)
		}
		before = p.Digest
	}
}

func TestAnEnvironmentFileIsRead(t *testing.T) {
	dir := tree(t, map[string]string{"environment.yml": `
name: x
channels: [conda-forge, nodefaults]
dependencies:
  - python=3.12
  - numpy >=2
  - pip
  - pip:
      - rich
      - -e ./lib
variables: {A: b, N: 1}
`, "lib/": ""})
	p, err := Find(Request{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	want := Contents{
		Channels: []string{"conda-forge"}, Indexes: []string{"conda-forge"},
		Specs: []string{"python=3.12", "numpy >=2", "pip"}, Pip: []string{"rich", "-e ./lib"},
		Variables: map[string]string{"A": "b", "N": "1"},
	}
	if diff := cmp.Diff(want, p.Contents); diff != "" {
		t.Error(diff)
	}
}

func TestAManifestOfPixiIsRead(t *testing.T) {
	dir := tree(t, map[string]string{"pixi.toml": `
[workspace]
channels = ["conda-forge", { channel = "pytorch", priority = 1 }]
platforms = ["` + CondaSubdir() + `"]
[dependencies]
python = ">=3.12"
numpy = { version = "2.*", build = "*_0", channel = "conda-forge" }
[target.` + CondaSubdir() + `.dependencies]
here = "*"
[target.other-64.dependencies]
there = "*"
[pypi-dependencies]
rich = ">=13"
lib = { path = "./lib", editable = true }
httpx = { version = "*", extras = ["http2"] }
tool = { git = "https://git.invalid/t", rev = "abc" }
[host-dependencies]
hosted = "*"
[feature.test.dependencies]
pytest = "*"
[feature.more.dependencies]
tqdm = "*"
[environments]
default = { features = ["more"] }
test = ["test"]
`, "lib/": ""})
	p, err := Find(Request{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	specs := []string{"numpy[...]", "python[version='>=3.12']", "hosted", "here", "tqdm"}
	specs[0] = "conda-forge::numpy[version='2.*', build='*_0']"
	pip := []string{"httpx[http2]", "-e ./lib", "rich>=13", "tool @ git+https://git.invalid/t@abc"}
	if diff := cmp.Diff(specs, p.Specs) + cmp.Diff(pip, p.Pip) +
		cmp.Diff([]string{"conda-forge", "pytorch"}, p.Channels); diff != "" {
		t.Error(diff)
	}
}

func TestWhatCannotBeUsedSaysWhy(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		r     Request
		want  string
	}{
		"an unknown extra": {map[string]string{
			"pyproject.toml": someProject + "[project.optional-dependencies]\nplot=[]\n"},
			Request{Extras: []string{"Plots"}}, `has no extra "plots"`},
		"an unknown group": {map[string]string{"pyproject.toml": someProject}, Request{Groups: []string{"docs"}},
			`has no group of dependencies "docs"`},
		"extras of a requirements file": {map[string]string{"requirements.txt": ""}, Request{Extras: []string{"a"}},
			"requirements.txt has no extras"},
		"bad TOML": {map[string]string{"pyproject.toml": "[project\n"}, Request{}, "pyproject.toml cannot be read"},
		"bad YAML": {map[string]string{"environment.yml": "a: [\n"}, Request{}, "environment.yml cannot be read"},
		"a manifest of many keys": {map[string]string{"pyproject.toml": "[project]\n" + strings.Repeat("a=1\n", 9000)},
			Request{}, "more than 8000 keys"},
		"a later Python": {map[string]string{"requirements.txt": "", ".python-version": "3.13t"}, Request{}, "3.13t"},
		"a variable without a value": {map[string]string{"environment.yml": "variables: {A: null}\n"}, Request{},
			"that cannot be set"},
		"an index of one package": {map[string]string{"pixi.toml": "[workspace]\nchannels=[]\n[pypi-dependencies]\n" +
			"x = { version = \"*\", index = \"https://own.invalid\" }\n"}, Request{}, "index, which is not known here"},
		"an option of pixi": {map[string]string{"pixi.toml": "[workspace]\nchannels=[]\n[pypi-options]\n" +
			"no-build = true\n"}, Request{}, "not known here"},
		"YAML that grows": {map[string]string{"environment.yml": "a: &a [x,x,x,x,x,x,x,x,x]\n" +
			"b: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n" +
			"d: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d]\n" +
			"dependencies: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"}, Request{}, "has aliases"},
		"a dependency that is none": {map[string]string{"environment.yml": "dependencies: [{conda: [x]}]"}, Request{},
			"has a dependency that is not one"},
		"another platform": {map[string]string{"pixi.toml": "[project]\nchannels=[]\nplatforms=['zos-z']\n"}, Request{},
			"is not for"},
		"another Python": {map[string]string{"requirements.txt": "", ".python-version": "pypy3.10"}, Request{},
			"which is not known here"},
		"a later lock file": {map[string]string{"pylock.toml": "lock-version = '2.0'"}, Request{},
			`of the version "2.0"`},
		"a file that is not there": {map[string]string{"requirements.txt": "-r more.txt"}, Request{},
			"more.txt does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			c.r.Path = tree(t, c.files)
			_, err := Find(c.r)
			var e *Error
			if !errors.As(err, &e) || !strings.Contains(e.Message, c.want) || e.Hint == "" || e.None {
				t.Errorf("%+v", err)
			}
		})
	}
}

func TestARelativePathIsRefused(t *testing.T) {
	if _, err := Find(Request{Path: "here"}); err == nil || IsNone(err) {
		t.Errorf("%v", err)
	}
}
