package safefile

import (
	"io/fs"
	"os"

	"github.com/gofrs/flock"
)

// Lock is a lock on a file or a folder of our own, never taken through a link.
type Lock struct {
	file  *flock.Flock
	check func() error
}

// NewLock is a lock on the file at path, which TryLock makes if needed.
func NewLock(path string) *Lock {
	return &Lock{flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR|noFollow), flock.SetPermissions(0o600)),
		func() error {
			if info, err := os.Lstat(path); err == nil {
				return regular(path, info)
			}
			return nil // taking it finds out
		}}
}

// NewFileLock is a lock on an existing file.
func NewFileLock(path string) *Lock {
	return &Lock{flock.New(path, flock.SetFlag(os.O_RDONLY|noFollow)), func() error {
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		return regular(path, info)
	}}
}

// NewFolderLock is a lock on an existing folder.
func NewFolderLock(path string) *Lock {
	return &Lock{flock.New(path, flock.SetFlag(os.O_RDONLY|noFollow)), func() error { return Folder(path) }}
}

// TryLock takes the lock; false if somebody else holds it. The error is an *Error if something else is in its place.
func (l *Lock) TryLock() (bool, error) {
	if err := l.check(); err != nil {
		return false, err
	}
	return l.file.TryLock()
}

func (l *Lock) Path() string { return l.file.Path() }

// Stat describes the locked file, whatever became of its name. It works only while the lock is held.
func (l *Lock) Stat() (fs.FileInfo, error) { return l.file.Stat() }

// Close frees the lock.
func (l *Lock) Close() error { return l.file.Close() }
