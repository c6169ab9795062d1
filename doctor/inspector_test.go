//go:build unix

package doctor

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"runtimed/internal/statedir"
	"runtimed/internal/testkit"
	"runtimed/pool/builder"
	"runtimed/pool/conda"
	"runtimed/pool/envdir"
	"runtimed/pool/uv"
)

// inspected is what an inspector sees that looks on behalf of s.
func inspected(s *testkit.Kit) *inspector {
	s.Helper()
	i, err := newInspector(s.State, uv.Config{}, conda.Config{}, s.Variables)
	if err != nil {
		s.Fatal(err)
	}
	i.uv.Elsewhere, i.conda.Elsewhere = nil, nil
	s.Cleanup(func() {
		if err := i.close(); err != nil || envdir.Exists(i.tmp) {
			s.Errorf("it leaves %s: %v", i.tmp, err)
		}
	})
	return i
}

func TestTheInspectorFindsWhatABuildWouldAndFetchesNothing(t *testing.T) {
	s := testkit.New(t)
	found, err := inspected(s).findUV(t.Context())
	if err != nil || found.Path != filepath.Join(s.Bin, "uv") || found.FetchWith != "" {
		t.Errorf("%+v, %v", found, err)
	}

	s = testkit.New(t)
	s.WithoutUV()
	found, err = inspected(s).findUV(t.Context())
	if err != nil || found.FetchWith != filepath.Join(s.Bin, "python3") || found.Version != uv.Version() ||
		found.Path != "" {
		t.Errorf("%+v, %v", found, err)
	}
	if list, err := os.ReadDir(s.State); err != nil || len(list) > 0 {
		t.Errorf("in the state directory: %v, %v", list, err)
	}
	if data, err := os.ReadFile(filepath.Join(s.Bin, "calls")); err == nil &&
		strings.Contains(string(data), "install") {
		t.Errorf("it was called: %s", data)
	}

	fetched := filepath.Join(s.State, "tools", "uv-"+uv.Version(), "bin", "uv")
	testkit.Check(t, os.MkdirAll(filepath.Dir(fetched), 0o700))
	testkit.WriteProgram(t, fetched, []byte("#!/bin/sh\n"))
	if found, err = inspected(s).findUV(t.Context()); err != nil || found.Path != fetched || found.FetchWith != "" {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestTheInspectorSaysWhereThereIsNothingToFetchUVWith(t *testing.T) {
	s := testkit.New(t)
	s.WithoutUV()
	testkit.WriteProgram(t, filepath.Join(s.Bin, "python3"), []byte("#!/bin/sh\nexit 1\n"))
	_, err := inspected(s).findUV(t.Context())
	python := s.Bin + "/python3"
	want := "tool_missing: uv is not on this machine, and could not be fetched with " + python + ": " + python +
		" has no pip"
	if got := summary(err); got != want {
		t.Error(got)
	}
	s.Remove("python3")
	_, err = inspected(s).findUV(t.Context())
	if got := summary(err); got != "tool_missing: uv is not on this machine, and there is no Python to fetch it with" {
		t.Error(got)
	}
}

func TestTheInspectorTellsThePythonOfEachPool(t *testing.T) {
	s := testkit.New(t)
	i := inspected(s)
	python := filepath.Join(s.Bin, "python")
	named := filepath.Join(s.Bin, "named")
	testkit.WriteProgram(t, named, []byte("#!/bin/sh\necho 3.12.4\necho \"$0\"\n"))
	wants := []string{"", "3.13", "3.12", "2.7", named, "/nowhere/python"}
	found, err := i.findPythons(t.Context(), filepath.Join(s.Bin, "uv"), wants)
	if err != nil || len(found) != len(wants) {
		t.Fatal(found, err)
	}
	for n, path := range []string{python, python, "", "", named, ""} {
		f := found[n]
		if ok := f.Err == nil && !f.Fetch; ok != (path != "") || ok && f.Path != path {
			t.Errorf("%q: %+v", wants[n], f)
		}
	}
}

func TestStraysAreWhatNoDaemonMade(t *testing.T) {
	s, err := envdir.Open(t.TempDir())
	testkit.Check(t, err)
	for _, name := range []string{"uv-0000000a", "uv-0000000b", "uv-0000000c", "uv-0000000d", "mine", ".hidden"} {
		testkit.Check(t, os.Mkdir(s.Env(name), 0o700))
	}
	at := time.Now().Add(time.Minute).Round(0)
	whole := envdir.Manifest{Version: 1, ID: "uv-0000000a", Pool: "uv", SpecHash: "x",
		Python: s.Env("uv-0000000a") + "/bin/python", CreatedAt: at}
	if _, err := s.WriteManifest(s.Env("uv-0000000a"), whole); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.Manifest(s.Env("uv-0000000b")), []byte("{"), 0o600); err != nil { // damaged, and ours
		t.Fatal(err)
	}
	if err := s.Begin("uv-0000000c", "uv"); err != nil { // being built
		t.Fatal(err)
	}
	if got, err := unmanaged(s); err != nil || !slices.Equal(got, []string{"mine", "uv-0000000d"}) {
		t.Errorf("strays: %v, %v", got, err)
	}
	if id, newest := newest(s); id != "uv-0000000a" || !newest.Equal(at) {
		t.Errorf("the newest is %s of %s", id, newest)
	}
	if got, err := unmanaged(storeAt(filepath.Join(s.Dir, "none"))); got != nil || err != nil {
		t.Errorf("strays of nothing: %v, %v", got, err)
	}
	if got, err := unmanaged(storeAt(s.Manifest(s.Env("uv-0000000b")))); err == nil {
		t.Errorf("strays of what cannot be read: %v", got)
	}
}

func TestWhereAFolderWouldStand(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{dir: dir, dir + "/a/b/c": dir, "/nowhere/a": "/"} {
		if got := statedir.Standing(path); got != want {
			t.Errorf("%s stands on %s, want %s", path, got, want)
		}
	}
	cache := filepath.Join(dir, "uv")
	if got, ok := linkable([]string{"UV_CACHE_DIR=" + cache}, dir+"/envs"); got != cache || !ok ||
		envdir.Exists(cache) {
		t.Errorf("linkable from %s: %v", got, ok)
	}
}

// summary is the cause and the message of a failure.
func summary(err error) string {
	var b *builder.Error
	if !errors.As(err, &b) {
		return "no BuildError"
	}
	return b.Cause + ": " + b.Message
}
