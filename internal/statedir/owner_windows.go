package statedir

import (
	"errors"
	"io/fs"
	"os"

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
