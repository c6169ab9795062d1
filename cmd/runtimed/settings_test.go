package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"runtimed/config"
	"runtimed/internal/testkit"
)

func TestAChangeBeforeTheFirstLookAtTheFilesIsNoticed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.toml")
	testkit.Check(t, os.WriteFile(path, []byte("[pools.uv]\nsize = 1\n"), 0o600))
	s, err := loadSettings(config.Flags{Config: path})
	testkit.Check(t, err)
	if !slices.EqualFunc(s.first, files(s.Load()), same) {
		t.Error("files that nobody has changed look changed")
	}
	testkit.Check(t, os.WriteFile(path, []byte("[pools.uv]\nsize = 12\n"), 0o600))
	if slices.EqualFunc(s.first, files(s.Load()), same) {
		t.Error("the change is not noticed")
	}
}
