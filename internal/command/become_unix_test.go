//go:build unix

package command

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"runtimed/internal/testkit"
)

func TestLookUp(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(path), 0o700)
		testkit.Check(t, os.WriteFile(path, nil, mode))
		return path
	}
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	plain := write("one/tool", 0o600)
	good := write("two/tool", 0o700)
	write("one/only-plain", 0o600)
	os.Mkdir(filepath.Join(one, "folder"), 0o700)
	path := one + ":" + two + ":" + good + "/x"
	for _, tt := range []struct {
		name, want string
		err        error
	}{
		{"tool", good, nil}, // the first one is not to be run
		{good, good, nil},
		{plain, plain, syscall.EACCES},
		{"only-plain", "", syscall.EACCES},
		{"folder", "", syscall.EISDIR},
		{one, one, syscall.EISDIR},
		{"nope", "", fs.ErrNotExist},
		{dir + "/nope", dir + "/nope", fs.ErrNotExist},
		{"", "", fs.ErrNotExist},
	} {
		got, err := LookUp(tt.name, path)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%q: got %q, %v", tt.name, got, err)
		}
	}
}
