package safefile

import (
	"io/fs"
	"os"

	"github.com/gofrs/flock"
)

// Lock is the lock on a file or a folder of our own, never taken through a link. The kernel frees it when the process ends, however it does.
type Lock struct {
	file  *flock.Flock
	check func() error // what lies at the path
}

// NewLock is the lock on the file at path, which taking it makes where there is none.
func NewLock(path string) *Lock {
	return &Lock{flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR|noFollow), flock.SetPermissions(0o600)), func() error {
		if info, err := os.Lstat(path); err == nil {
			return regular(path, info)
		}
		return nil // taking it finds out
	}}
}

// NewFileLock is the lock on a file that is there; nothing is made.
func NewFileLock(path string) *Lock {
	return &Lock{flock.New(path, flock.SetFlag(os.O_RDONLY|noFollow)), func() error {
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		return regular(path, info)
	}}
}

// NewFolderLock is the lock on a folder that is there.
func NewFolderLock(path string) *Lock {
	return &Lock{flock.New(path, flock.SetFlag(os.O_RDONLY|noFollow)), func() error { return Folder(path) }}
}

// TryLock takes the lock; false where somebody else holds it. The error is an *Error where something else lies in its place.
func (l *Lock) TryLock() (bool, error) {
	if err := l.check(); err != nil {
		return false, err
	}
	return l.file.TryLock()
}

// Path is the path that the lock was made for.
func (l *Lock) Path() string { return l.file.Path() }

// Stat tells of the file that is locked, whatever became of its name; it is of use only while the lock is held.
func (l *Lock) Stat() (fs.FileInfo, error) { return l.file.Stat() }

// Close frees the lock.
func (l *Lock) Close() error { return l.file.Close() }
