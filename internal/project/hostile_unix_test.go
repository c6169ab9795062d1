//go:build unix

package project

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestLargeFilesAreReadOneAfterAnother(t *testing.T) {
	dir := tree(t, map[string]string{"uv.lock": someLock + strings.Repeat("# a comment\n", 100_000),
		"pyproject.toml": someProject})
	huge := tree(t, map[string]string{"pyproject.toml": strings.Repeat("# a comment\n", 100_000)})
	for range 3 {
		if _, err := Find(Request{Path: dir}); err != nil {
			t.Fatal(err)
		}
		if _, err := Find(Request{Path: huge}); err == nil {
			t.Fatal("it was read")
		}
	}
}

func TestAHostileFileCostsOneError(t *testing.T) {
	for name, c := range map[string]struct {
		make func(path string) error
		want string
	}{
		"a named pipe": {func(path string) error { return syscall.Mkfifo(path, 0o600) }, "is a named pipe"},
		"a huge file": {func(path string) error {
			f, err := os.Create(path)
			if err == nil {
				err = f.Truncate(1 << 30)
			}
			return err
		}, "is larger than"},
		"a folder":         {func(path string) error { return os.Mkdir(path, 0o700) }, "is a folder"},
		"a device":         {func(path string) error { return os.Symlink("/dev/zero", path) }, "is a device"},
		"a link to itself": {func(path string) error { return os.Symlink(path, path) }, "too many"},
		"a link that leads nowhere": {func(path string) error { return os.Symlink("/nowhere/at/all", path) },
			"leads nowhere"},
	} {
		for _, kind := range []string{UVLock, PyLock, PixiLock, Environment, Requirements} {
			t.Run(name+" as "+kind, func(t *testing.T) {
				dir := tree(t, map[string]string{"pyproject.toml": onlySettings})
				if err := c.make(filepath.Join(dir, kind)); err != nil {
					t.Fatal(err)
				}
				_, err := Find(Request{Path: dir})
				if err == nil || IsNone(err) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v", err)
				}
			})
		}
	}
}

// In /tmp anybody could leave a project for others.
func TestAFolderThatAnyoneMayWriteToIsPassedOverOnTheWayUp(t *testing.T) {
	dir := tree(t, map[string]string{"requirements.txt": "evil", "nb/": ""})
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if p, err := Find(Request{Path: filepath.Join(dir, "nb")}); !IsNone(err) {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := Find(Request{Path: dir}); err != nil {
		t.Errorf("the folder itself was named: %v", err)
	}
}

// uv itself would follow it.
func TestAWorkspaceWhereAnyoneMayWriteIsRefused(t *testing.T) {
	dir := tree(t, map[string]string{"pyproject.toml": "[tool.uv.workspace]\nmembers = [\"*\"]\n", "uv.lock": someLock,
		"p/pyproject.toml": someProject, "p/uv.lock": someLock})
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	_, err := Find(Request{Path: filepath.Join(dir, "p")})
	if err == nil || !strings.Contains(err.Error(), "where anyone may write") {
		t.Errorf("%v", err)
	}
}
