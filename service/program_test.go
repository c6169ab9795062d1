package service

import (
	"os"
	"path/filepath"
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

func TestAServiceStartsWhatAnUpgradeReplaces(t *testing.T) {
	home, err := filepath.EvalSymlinks(t.TempDir())
	testkit.Check(t, err)
	env := func(name string) string { return map[string]string{"HOME": home}[name] }
	link := func(to, name string) string {
		t.Helper()
		testkit.Check(t, os.MkdirAll(filepath.Dir(name), 0o700))
		testkit.Check(t, os.Symlink(to, name))
		return name
	}
	stable := program(t, home+"/.local/bin/runtimed")
	version := program(t, home+"/brew/Cellar/runt/1.2/bin/runtimed")
	brewed := link(version, home+"/brew/bin/runtimed")
	built := program(t, home+"/src/runt/bin/runtimed")
	program(t, home+"/src/runt/bin/runt")
	program(t, home+"/src/runt/go.mod")
	loaded := program(t, home+"/Downloads/runt-1.2/runtimed")
	linked := link(built, home+"/bin/runtimed")

	for _, c := range []struct {
		what, found string
		candidates  []string
		want        string
		copies      int
	}{
		{"where it is installed", stable, nil, stable, 0},
		{"the link, not the folder of one version", version, []string{brewed}, brewed, 0},
		{"another program's name counts for nothing", stable, []string{brewed}, stable, 0},
		{"without a link, a version's folder is left by a copy", version, nil, home + "/.local/share/runt/bin/runtimed",
			1},
		{"a folder of source code", built, nil, home + "/.local/share/runt/bin/runtimed", 2},
		{"a link that somebody made on purpose", built, []string{linked}, linked, 0},
		{"downloads", loaded, nil, home + "/.local/share/runt/bin/runtimed", 1},
	} {
		path, copies, why := Settle(c.found, c.candidates, env)
		if path != c.want || len(copies) != c.copies || (why == "") != (c.copies == 0) {
			t.Errorf("%s: %s, %d copies, %q", c.what, path, len(copies), why)
		}
	}
	if why := passing("/tmp/x/runtimed", env); why == "" {
		t.Error("a temporary folder lasts")
	}
	for _, path := range []string{"/usr/bin/runtimed", "/run/current-system/sw/bin/runtimed", "/opt/runt/runtimed"} {
		if why := passing(path, env); why != "" {
			t.Errorf("%s: %s", path, why)
		}
	}
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
	if err != nil || os.SameFile(before, after) || f.differs() || after.Mode().Perm() != 0o755 {
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
