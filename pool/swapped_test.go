//go:build linux

package pool

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"runtimed/internal/statedir"
	"runtimed/pool/envdir"
)

func TestAFolderThatSomebodyPutInPlaceOfAnEnvironmentIsNeitherWrittenToNorRemoved(t *testing.T) {
	if m, err := statedir.MountOf(t.TempDir()); err != nil || !slices.Contains(envdir.LastingTypes, m.Type) {
		t.Skipf("folders are not told from others on %s", m.Type)
	}
	for what, end := range map[string]func(w *world, id string){
		"a release":                    func(w *world, id string) { w.release(id) },
		"the owner's end":              func(w *world, _ string) { w.p.End(100) },
		"the owner's end after a kill": func(w *world, _ string) { w.p.End(100) },
	} {
		inBubble(t, sized(1), func(w *world) {
			got := w.get(100).Env
			if what == "the owner's end after a kill" {
				w.crash()
				w.start()
				w.settled()
			}
			moved := filepath.Join(w.store.Dir, "moved")
			if err := errors.Join(os.Rename(got.Path, moved), os.Mkdir(got.Path, 0o700),
				os.WriteFile(filepath.Join(got.Path, envdir.LeaseName), []byte("my lease"), 0o600)); err != nil {
				w.Fatal(err)
			}
			end(w, got.ID)
			w.pass(time.Minute)
			if data, err := os.ReadFile(filepath.Join(got.Path, envdir.LeaseName)); string(data) != "my lease" {
				w.Errorf("after %s: the file has %.40q, %v", what, data, err)
			}
			if err := errors.Join(os.RemoveAll(got.Path), os.Rename(moved, got.Path)); err != nil {
				w.Fatal(err)
			}
			if w.pass(time.Hour); envdir.Exists(got.Path) {
				w.Errorf("after %s: the environment stays though it is back", what)
			}
		})
	}
}
