//go:build unix

package service

import (
	"os"
	"path/filepath"
	"testing"

	"runtimed/internal/testkit"
)

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
