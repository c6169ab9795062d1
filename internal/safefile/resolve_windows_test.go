package safefile

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestAPathIsResolvedThroughAJunction(t *testing.T) {
	dir, err := Resolve(t.TempDir())
	below := filepath.Join(dir, "Real", "below")
	if err = errors.Join(err, os.MkdirAll(below, 0o700)); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(dir, "junction")
	_ = exec.Command("cmd", "/c", "mklink", "/J", at, filepath.Dir(below)).Run()
	if _, err := os.Lstat(at); err != nil {
		t.Skip("junctions cannot be made here")
	}
	for path, want := range map[string]string{
		at: filepath.Dir(below), filepath.Join(at, "below"): below, filepath.Join(at, "BELOW"): below,
	} {
		if got, err := Resolve(path); err != nil || got != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
}

func TestTheSystemTellsAPathThatProgramsKnow(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := finalPath(dir); err != nil || got != dir {
		t.Errorf("%q, %v, not %q", got, err, dir)
	}
	for path, want := range map[string]string{
		`\\?\C:\a b`:          `C:\a b`,
		`\\?\UNC\server\s\x`:  `\\server\s\x`,
		`\\?\Volume{0-1}\dir`: `\\?\Volume{0-1}\dir`,
		`C:\a`:                `C:\a`,
	} {
		if got := plain(path); got != want {
			t.Errorf("%s: %q", path, got)
		}
	}
}
