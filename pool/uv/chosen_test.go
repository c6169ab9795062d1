package uv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"runtimed/internal/statedir"
	"runtimed/internal/testkit"
	"runtimed/internal/tool"
	"runtimed/pool/envdir"
)

// offer has the stand-in's uv find these versions; each is a Python that runs and is named after its version.
func (s *standin) offer(versions ...string) {
	s.Helper()
	var list []string
	for _, v := range versions {
		list = append(list, fmt.Sprintf(`{"path":%q,"version":%q,"implementation":"cpython","variant":"default"}`,
			s.interpreter(v, v), v))
	}
	s.Write("pythons", "["+strings.Join(list, ",")+"]")
}

// interpreter is the path of a Python of that name, which says that it is of that version.
func (s *standin) interpreter(name, version string) string {
	s.Helper()
	dir := filepath.Join(s.Bin, name)
	testkit.Check(s.T, os.MkdirAll(dir, 0o755))
	path := filepath.Join(dir, "python")
	testkit.WriteProgram(s.T, path, fmt.Appendf(nil, "#!/bin/sh\nprintf '%s\\n%s\\n'\n", version, path))
	return path
}

// finds is the version of the Python that a daemon that starts now takes for the pool.
func (s *standin) finds() string {
	s.Helper()
	s.ForgetPythons()
	b := &build{Builder: s.Builder, spec: wanting("a"), mark: s.Tools(), tool: s.Program("uv")}
	i, err := b.interpreter(s.Context())
	testkit.Check(s.T, err)
	if p, ok := statedir.ChosenPython(s.State); !ok || p != (statedir.Python{Path: i.Path, Version: i.Version}) {
		s.Errorf("it takes %+v, and %+v is written down", i, p)
	}
	return i.Version
}

func TestThePythonThatWasChosenStaysUntilItIsGone(t *testing.T) {
	s := newStandin(t)
	for _, c := range []struct {
		name string
		do   func()
		want string
	}{
		{"the newest", func() { s.offer("3.11.2", "3.12.4") }, "3.12.4"},
		{"a newer one is installed", func() { s.offer("3.11.2", "3.12.4", "3.13.1") }, "3.12.4"},
		{"uv finds it no more", func() { s.offer("3.11.2") }, "3.12.4"},
		{"it is updated in place", func() { s.interpreter("3.12.4", "3.12.7") }, "3.12.7"},
		{"it is another version by now", func() { s.interpreter("3.12.4", "3.13.1") }, "3.11.2"},
		{"it is removed", func() { s.offer("3.10.3"); s.Remove("3.11.2/python") }, "3.10.3"},
		{"it does not run", func() {
			s.offer("3.9.1")
			testkit.Check(t, os.WriteFile(filepath.Join(s.Bin, "3.10.3/python"), []byte("#!/bin/sh\nexit 1\n"), 0o755))
		}, "3.9.1"},
		{"what is written down is damaged", func() {
			s.offer("3.12.4")
			testkit.Check(t, os.WriteFile(statedir.PythonFile(s.State), []byte(`{"path":"/usr`), 0o600))
		}, "3.12.4"},
		{"a folder is in its place", func() {
			s.offer("3.13.1")
			path := statedir.PythonFile(s.State)
			testkit.Check(t, errors.Join(os.Remove(path), os.MkdirAll(filepath.Join(path, "x"), 0o700)))
		}, "3.13.1"},
		{"a link is in its place", func() {
			s.offer("3.12.4")
			path := statedir.PythonFile(s.State)
			testkit.Check(t, errors.Join(os.Rename(path, path+"-theirs"), os.Symlink(path+"-theirs", path)))
		}, "3.12.4"},
	} {
		c.do()
		if got := s.finds(); got != c.want {
			t.Errorf("%s: %s, not %s", c.name, got, c.want)
		}
	}
	if data, err := os.ReadFile(statedir.PythonFile(s.State) + "-theirs"); !strings.Contains(string(data), "3.13.1") {
		t.Errorf("through the link was written %s, %v", data, err)
	}
}

func TestWhatIsAskedForGetsTheChosenPythonIfThatWillDo(t *testing.T) {
	s := newStandin(t)
	s.offer("3.12.4")
	s.finds()
	s.offer("3.12.4", "3.12.9", "3.13.1")
	for want, version := range map[string]string{">=3.10": "3.12.4", "3.12": "3.12.4", "3.12.9": "3.12.9",
		"3.13": "3.13.1", ">3.12.5": "3.13.1"} {
		i, err := s.Interpreter(t.Context(), s.Program("uv"), s.Tools(), want, nil)
		if err != nil || i.Version != version {
			t.Errorf("for %s: %+v, %v", want, i, err)
		}
	}
	if got := s.finds(); got != "3.12.4" {
		t.Errorf("then the pool has %s", got)
	}
}

func TestPATHCountsOnlyWhereNoOtherPlaceHasAPythonThatWillDo(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the folders are those of Unix; see TestThePythonsOfTheUsersFolderAreLookedAt")
	}
	home, venv, plain := t.TempDir(), t.TempDir(), t.TempDir()
	pyenv := filepath.Join(home, ".pyenv/versions/3.12.1/bin")
	theirs := filepath.Join(home, ".pyenv/versions/project")
	testkit.Check(t, errors.Join(os.MkdirAll(pyenv, 0o755), os.MkdirAll(filepath.Join(theirs, "bin"), 0o755),
		os.WriteFile(filepath.Join(theirs, "pyvenv.cfg"), nil, 0o600),
		os.WriteFile(filepath.Join(venv, "pyvenv.cfg"), nil, 0o600)))
	s := newStandin(t, "HOME="+home)
	s.Environ = append(slices.Clone(s.Environ), "PATH="+venv+"/bin:relative:"+plain+":/usr/bin:/bin")
	uv := s.Program("uv")
	path := func() []string {
		t.Helper()
		return filepath.SplitList(tool.Lookup(strings.Split(s.Took("env"), "\n"), "PATH"))
	}
	_, err := s.Installed(t.Context(), uv, "", "")
	testkit.Check(t, err)
	if got := path(); slices.Contains(got, plain) || slices.Contains(got, filepath.Join(theirs, "bin")) ||
		!slices.Contains(got, pyenv) || !slices.Contains(got, "/usr/bin") {
		t.Errorf("first it looks in %q", got)
	}
	s.Write("pythons", "[]")
	_, err = s.Installed(t.Context(), uv, "", "")
	testkit.Check(t, err)
	if got := path(); !slices.Equal(got, []string{plain, "/usr/bin", "/bin"}) {
		t.Errorf("then it looks in %q", got)
	}
}

func TestAnUpgradeKeepsThePythonOfTheReadyEnvironments(t *testing.T) {
	s := newStandin(t)
	s.offer("3.11.2", "3.12.4", "3.13.1")
	store := envdir.Store{Dir: s.State}
	ready := func(id, hash, version string, age time.Duration) {
		t.Helper()
		dir := store.Env(id)
		python := filepath.Join(dir, "bin", "python")
		testkit.Check(t, errors.Join(os.MkdirAll(filepath.Dir(python), 0o700),
			os.Symlink(filepath.Join(s.Bin, version, "python"), python)))
		_, err := store.WriteManifest(dir, envdir.Manifest{Version: envdir.ManifestVersion, ID: id, Pool: "uv",
			Kind: "uv", SpecHash: hash, CreatedAt: time.Now().Add(-age), Python: python, PythonVersion: version})
		testkit.Check(t, err)
	}
	hash := wanting("a").Hash()
	ready("uv-00000001", hash, "3.12.4", 2*time.Hour)
	ready("uv-00000002", hash, "3.11.2", time.Hour)
	ready("uv-00000003", "0123456789abcdef", "3.13.1", 0)
	if got := s.finds(); got != "3.11.2" {
		t.Errorf("it takes %s", got)
	}
	testkit.Check(t, os.Remove(statedir.PythonFile(s.State)))
	s.Remove("3.11.2/python") // the environment's link leads nowhere
	if got := s.finds(); got != "3.13.1" {
		t.Errorf("without that Python it takes %s", got)
	}
}
