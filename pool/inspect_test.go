//go:build unix

package pool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// inspected is what an inspector sees that looks on behalf of s.
func inspected(s *toolKit) *Inspector {
	s.Helper()
	i, err := NewInspector(s.state, UVConfig{}, CondaConfig{}, s.variables)
	if err != nil {
		s.Fatal(err)
	}
	i.uv.elsewhere, i.conda.elsewhere = nil, nil
	s.Cleanup(func() {
		if err := i.Close(); err != nil || exists(i.tmp) {
			s.Errorf("it leaves %s: %v", i.tmp, err)
		}
	})
	return i
}

func TestTheInspectorFindsWhatABuildWouldAndFetchesNothing(t *testing.T) {
	s := newToolKit(t)
	found, err := inspected(s).UV(t.Context())
	if err != nil || found.Path != filepath.Join(s.bin, "uv") || found.FetchWith != "" {
		t.Errorf("%+v, %v", found, err)
	}

	s = newToolKit(t)
	s.withoutUV()
	found, err = inspected(s).UV(t.Context())
	if err != nil || found.FetchWith != filepath.Join(s.bin, "python3") || found.Version != uvVersion() || found.Path != "" {
		t.Errorf("%+v, %v", found, err)
	}
	if list, err := os.ReadDir(s.state); err != nil || len(list) > 0 {
		t.Errorf("in the state directory: %v, %v", list, err)
	}
	if data, err := os.ReadFile(filepath.Join(s.bin, "calls")); err == nil && strings.Contains(string(data), "install") {
		t.Errorf("it was called: %s", data)
	}

	fetched := filepath.Join(s.state, "tools", "uv-"+uvVersion(), "bin", "uv")
	if err := os.MkdirAll(filepath.Dir(fetched), 0o700); err != nil {
		t.Fatal(err)
	}
	writeProgram(t, fetched, []byte("#!/bin/sh\n"))
	if found, err = inspected(s).UV(t.Context()); err != nil || found.Path != fetched || found.FetchWith != "" {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestTheInspectorSaysWhereThereIsNothingToFetchUVWith(t *testing.T) {
	s := newToolKit(t)
	s.withoutUV()
	writeProgram(t, filepath.Join(s.bin, "python3"), []byte("#!/bin/sh\nexit 1\n"))
	_, err := inspected(s).UV(t.Context())
	python := s.bin + "/python3"
	want := "tool_missing: uv is not on this machine, and could not be fetched with " + python + ": " + python + " has no pip"
	if got := summary(err); got != want {
		t.Error(got)
	}
	s.remove("python3")
	_, err = inspected(s).UV(t.Context())
	if got := summary(err); got != "tool_missing: uv is not on this machine, and there is no Python to fetch it with" {
		t.Error(got)
	}
}

func TestTheInspectorTellsThePythonOfEachPool(t *testing.T) {
	s := newToolKit(t)
	i := inspected(s)
	python := filepath.Join(s.bin, "python")
	named := filepath.Join(s.bin, "named")
	writeProgram(t, named, []byte("#!/bin/sh\necho 3.12.4\necho \"$0\"\n"))
	wants := []string{"", "3.13", "3.12", "2.7", named, "/nowhere/python"}
	found, err := i.Pythons(t.Context(), filepath.Join(s.bin, "uv"), wants)
	if err != nil || len(found) != len(wants) {
		t.Fatal(found, err)
	}
	for n, path := range []string{python, python, "", "", named, ""} {
		f := found[n]
		if ok := f.Err == nil && !f.Fetch; ok != (path != "") || ok && f.Path != path {
			t.Errorf("%q: %+v", wants[n], f)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := i.Pythons(ended, filepath.Join(s.bin, "uv"), []string{""}); !errors.Is(err, context.Canceled) {
		t.Errorf("without time: %v", err)
	}
}

func TestStraysAreWhatNoDaemonMade(t *testing.T) {
	s, err := openStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"uv-0000000a", "uv-0000000b", "uv-0000000c", "uv-0000000d", "mine", ".hidden"} {
		if err := os.Mkdir(s.env(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	at := time.Now().Add(time.Minute).Round(0)
	whole := Manifest{Version: 1, ID: "uv-0000000a", Pool: "uv", SpecHash: "x", Python: s.env("uv-0000000a") + "/bin/python", CreatedAt: at}
	if _, err := s.writeManifest(s.env("uv-0000000a"), whole); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.manifest(s.env("uv-0000000b")), []byte("{"), 0o600); err != nil { // damaged, and ours
		t.Fatal(err)
	}
	if err := s.begin("uv-0000000c", "uv"); err != nil { // being built
		t.Fatal(err)
	}
	if got := Unmanaged(s.dir); !slices.Equal(got, []string{"mine", "uv-0000000d"}) {
		t.Errorf("strays: %v", got)
	}
	if id, newest := Newest(s.dir); id != "uv-0000000a" || !newest.Equal(at) {
		t.Errorf("the newest is %s of %s", id, newest)
	}
	if got := Unmanaged(filepath.Join(s.dir, "none")); got != nil {
		t.Errorf("strays of nothing: %v", got)
	}
}

func TestWhereAFolderWouldStand(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{dir: dir, dir + "/a/b/c": dir, "/nowhere/a": "/"} {
		if got := Standing(path); got != want {
			t.Errorf("%s stands on %s, want %s", path, got, want)
		}
	}
	cache := filepath.Join(dir, "uv")
	if got, ok := Linkable([]string{"UV_CACHE_DIR=" + cache}, dir+"/envs"); got != cache || !ok || exists(cache) {
		t.Errorf("linkable from %s: %v", got, ok)
	}
}

// summary is the cause and the message of a failure.
func summary(err error) string {
	var b *BuildError
	if !errors.As(err, &b) {
		return "no BuildError"
	}
	return b.Cause + ": " + b.Message
}
