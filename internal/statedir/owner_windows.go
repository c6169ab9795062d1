package statedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/windows/registry"

	"runtimed/internal/safefile"
)

// OwnerUID returns false: users have no numbers here.
func OwnerUID(fs.FileInfo) (int, bool) { return 0, false }

// IsLent returns false: users have no numbers here.
func IsLent(fs.FileInfo) bool { return false }

// Writable says why a folder cannot be written, by trying it: only the system can evaluate access lists. A full disk
// does not count: ready environments can be leased.
func Writable(dir string) error {
	f, err := os.CreateTemp(dir, ".writable-")
	var path *fs.PathError
	switch {
	case safefile.IsFull(err):
		return nil
	case errors.As(err, &path):
		return path.Err
	case err != nil:
		return err
	}
	_ = f.Close()
	return os.Remove(f.Name())
}

// CheckForm refuses an absolute path that names another place once something is put behind it, as one that ends in a
// space or names a device does, and one that most programs cannot work in.
func CheckForm(dir string) error {
	clean := filepath.Clean(dir)
	if root := clean[:min(4, len(clean))]; root == `\\?\` || root == `\\.\` || root == `\??\` {
		return fmt.Errorf("must begin with a drive or a share, got %s", dir)
	}
	full, err := syscall.FullPath(clean)
	if err == nil && full != clean {
		err = fmt.Errorf("must be a path that Windows takes as it is, got %q, which it reads as %s", dir, full)
	}
	return err
}

// longPaths reports whether an administrator has turned on long paths. Python takes them then.
func longPaths() bool {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, `SYSTEM\CurrentControlSet\Control\FileSystem`,
		registry.QUERY_VALUE)
	if err != nil {
		return false
	}
	defer key.Close()
	on, _, err := key.GetIntegerValue("LongPathsEnabled")
	return err == nil && on == 1
}
