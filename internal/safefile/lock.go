package safefile

import (
	"io/fs"
	"os"
)

// Lock is a lock on a file or a folder of our own, never taken through a link. The file can be read meanwhile.
type Lock struct {
	file  *flocked
	check func(path string, info fs.FileInfo) error
}

// NewLock is a lock on the file at path, which TryLock makes if needed.
func NewLock(path string) *Lock {
	return &Lock{newFlocked(path, os.O_CREATE|os.O_RDWR|noFollow), regular}
}

// NewFileLock is a lock on an existing file.
func NewFileLock(path string) *Lock {
	return &Lock{newFlocked(path, os.O_RDONLY|noFollow), regular}
}

// NewFolderLock is a lock on an existing folder.
func NewFolderLock(path string) *Lock {
	return &Lock{newFlocked(path, os.O_RDONLY|noFollow), folder}
}

// TryLock takes the lock; false if somebody else holds it. The error is an *Error if something else is in its place.
func (l *Lock) TryLock() (bool, error) {
	if info, err := os.Lstat(l.Path()); err == nil { // else taking it finds out
		if err := l.check(l.Path(), info); err != nil {
			return false, err
		}
	}
	return l.file.TryLock()
}

// Share takes a lock that others may share; false if somebody has it alone.
func (l *Lock) Share() (bool, error) { return l.file.TryRLock() }

func (l *Lock) Path() string { return l.file.Path() }

// Stat describes the locked file, whatever became of its name. It works only while the lock is held.
func (l *Lock) Stat() (fs.FileInfo, error) { return l.file.Stat() }

// Close frees the lock.
func (l *Lock) Close() error { return l.file.Close() }
