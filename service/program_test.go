package service

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"runtimed/internal/testkit"
)

// program makes an executable file.
func program(t *testing.T, path string) string {
	t.Helper()
	testkit.Check(t, os.MkdirAll(filepath.Dir(path), 0o700))
	testkit.Check(t, os.WriteFile(path, []byte(path), 0o755))
	return path
}

func TestARunningProgramIsReplacedByRename(t *testing.T) {
	dir := t.TempDir()
	to := program(t, dir+"/bin/runtimed")
	before, err := os.Stat(to)
	testkit.Check(t, err)
	f := File{Path: to, From: program(t, dir+"/new"), Mode: 0o755}
	if !f.differs() {
		t.Fatal("another file is the same")
	}
	testkit.Check(t, f.write())
	after, err := os.Stat(to)
	another := runtime.GOOS == "windows" || // no mode there, and a file is the one that has its name when it is asked
		!os.SameFile(before, after) && after.Mode().Perm() == 0o755
	if err != nil || !another || f.differs() {
		t.Errorf("%v: the old file was written to, or the new one is another", err)
	}
	if left, _ := filepath.Glob(dir + "/bin/.*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	f.From = dir + "/nowhere"
	if err := f.write(); err == nil {
		t.Error("a copy of nothing is made")
	}
	if left, _ := filepath.Glob(dir + "/bin/.*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestWhatAServicePassesOn(t *testing.T) {
	env := map[string]string{
		"RUNTIMED_UV_POOL_SIZE": "0", "RUNTIMED_NO_START": "1", "XDG_CACHE_HOME": "relative", "XDG_CONFIG_HOME": "/c",
		"PATH": "/bin", "HTTPS_PROXY": "http://u:p@h",
	}
	got := Variables(func(name string) string { return env[name] })
	if len(got) != 2 || got[0] != (Var{"RUNTIMED_UV_POOL_SIZE", "0"}) || got[1] != (Var{"XDG_CONFIG_HOME", "/c"}) {
		t.Error(got)
	}
}
