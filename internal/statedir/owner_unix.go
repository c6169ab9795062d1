//go:build unix

package statedir

import (
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// OwnerUID returns the owner of a file; false if the system has no such numbers.
func OwnerUID(info fs.FileInfo) (int, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(st.Uid), true
}

// IsLent reports whether a folder of root's counts as our own, since only root, group 0 and we may write to it.
// Images that run under an arbitrary uid have such folders.
func IsLent(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	perm := info.Mode().Perm()
	return ok && st.Uid == 0 && os.Geteuid() != 0 && perm&0o002 == 0 && (perm&0o020 == 0 || st.Gid == 0)
}

// Writable says why a folder cannot be written. A full disk does not count: ready environments can be leased.
func Writable(dir string) error { return unix.Access(dir, unix.W_OK) }

// removeIn removes a file, a link or an empty folder in root.
func removeIn(root *os.Root, name string) error { return root.Remove(name) }

// plainName is name: only Windows reads some names in another way.
func plainName(_ *os.Root, name string) (string, error) { return name, nil }

// CheckForm returns nil: only Windows reads some paths in another way.
func CheckForm(string) error { return nil }

// longPaths returns true: only Windows turns them off.
func longPaths() bool { return true }
