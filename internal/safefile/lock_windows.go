package safefile

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// flocked locks a byte far behind the end of a file. flock.Flock would lock the first one, and nobody could read from
// the file who holds it.
type flocked struct {
	path string
	flag int
	file *os.File // nil while it is not locked
}

func newFlocked(path string, flag int) *flocked { return &flocked{path: path, flag: flag} }

func (l *flocked) Path() string { return l.path }

func (l *flocked) TryLock() (bool, error) { return l.try(windows.LOCKFILE_EXCLUSIVE_LOCK) }

func (l *flocked) TryRLock() (bool, error) { return l.try(0) }

// try opens the file so that it cannot be removed meanwhile.
func (l *flocked) try(how uint32) (bool, error) {
	if l.file != nil {
		return true, nil
	}
	f, err := os.OpenFile(l.path, l.flag, 0o600)
	if err != nil {
		return false, err
	}
	err = windows.LockFileEx(windows.Handle(f.Fd()), how|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0,
		&windows.Overlapped{OffsetHigh: 1})
	if err != nil {
		_ = f.Close()
		if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
			return false, nil
		}
		return false, err
	}
	l.file = f
	return true, nil
}

func (l *flocked) Stat() (fs.FileInfo, error) {
	if l.file == nil {
		return os.Stat(l.path)
	}
	return l.file.Stat()
}

// Close frees the lock: the system does so with the last handle, at once as nobody else has one.
func (l *flocked) Close() error {
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}
