//go:build e2e

package conda

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
)

func TestTheVenvOfRattlerIsMadeOnce(t *testing.T) {
	channelDir(t) // there is uv then
	r := bareRattler(t, testkit.NetEnviron()...)
	var made sync.Map
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			python, err := r.ready(t.Context(), r.c.uv.Tools(), func(s builder.Stage) { made.Store(&s, s.Message) })
			if err != nil || python != builder.VenvPython(r.venv()) {
				t.Errorf("%s, %+v", python, err)
			}
		})
	}
	wg.Wait()
	var said []string
	made.Range(func(_, message any) bool { said = append(said, message.(string)); return true })
	if want := []string{"fetching rattler " + RattlerVersion()}; !slices.Equal(said, want) {
		t.Errorf("%q", said)
	}
	if left, _ := filepath.Glob(filepath.Join(r.c.uv.Tools(), ".fetch-*")); len(left) > 0 {
		t.Errorf("%v are left", left)
	}

	job := r.job(t, channelDir(t), "rt-lib")
	for what, breakIt := range map[string]func() error{
		"its base is gone": func() error {
			bin := filepath.Join(r.venv(), "bin")
			return errors.Join(os.RemoveAll(bin), os.Mkdir(bin, 0o700),
				os.Symlink("/nowhere/python", builder.VenvPython(r.venv())))
		},
		"its Python is another one": func() error {
			lib, err := filepath.Glob(filepath.Join(r.venv(), "lib", "python3*"))
			return errors.Join(err, os.Rename(lib[0], filepath.Join(r.venv(), "lib", "python2.7")))
		},
		"its Python does not run": func() error {
			python := builder.VenvPython(r.venv())
			return errors.Join(os.Remove(python), os.WriteFile(python, []byte("#!/nowhere\n"), 0o700))
		},
		"a crash of the machine left an empty file": func() error { return r.cutFile("rattler/__init__.py", 0) },
		"a crash left half of a library":            func() error { return r.cutFile("rattler/rattler.*.so", 2) },
		"a crash left no Python in a file": func() error {
			return r.cutFile("rattler/networking/__init__.py",
				1, 0, 0, 0)
		},
	} {
		if err := breakIt(); err != nil {
			t.Fatal(what, err)
		}
		if err := r.renew(t.Context(), r.c.uv.Tools(), job); err != nil {
			t.Errorf("%s: %+v", what, err)
		}
	}
}

// cutFile leaves one nth of a file in rattler's venv, or nothing, and more behind it.
func (r *rattler) cutFile(name string, n int, more ...byte) error {
	found, err := filepath.Glob(filepath.Join(r.venv(), builder.SitesBelow, name))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("%s: %q, %v", name, found, err)
	}
	data, err := os.ReadFile(found[0])
	if err != nil {
		return err
	}
	keep := 0
	if n > 0 {
		keep = len(data) / n
	}
	// uv's cache has the old one
	return errors.Join(os.Remove(found[0]), os.WriteFile(found[0], append(data[:keep], more...), 0o600))
}

func TestAFullDiskIsToldThoughAHalfInstalledRattlerLooksWhole(t *testing.T) {
	channelDir(t)
	r := bareRattler(t, testkit.NetEnviron()...)
	if _, err := r.ready(t.Context(), r.c.uv.Tools(), func(builder.Stage) {}); err != nil { // uv's cache has it then
		t.Fatal(err)
	}
	testkit.Check(t, os.RemoveAll(r.c.uv.Tools()))
	testkit.Check(t, os.MkdirAll(r.c.uv.Tools(), 0o700))
	testkit.MountTmpfs(t, r.c.uv.Tools(), "30m")
	_, err := r.ready(t.Context(), r.c.uv.Tools(), func(builder.Stage) {})
	if b := buildError(t, err); b.Cause != builder.CauseDiskFull {
		t.Errorf("%+v", b)
	}
}
