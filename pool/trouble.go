package pool

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// trouble says whether err is the machine's: a disk that became read-only, is full or fails, or too many open files. What could not be
// looked at or written for that reason is as good as it was. A file that is gone, forbidden or something else is damage.
func trouble(err error) bool {
	if b := (*BuildError)(nil); errors.As(err, &b) {
		return b.machine
	}
	var number syscall.Errno
	if !errors.As(err, &number) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return false
	}
	switch number {
	case syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP, syscall.ENAMETOOLONG, syscall.EINVAL, syscall.ENOEXEC,
		syscall.EEXIST, syscall.ENOTEMPTY, syscall.EBUSY, syscall.EXDEV:
		return false
	}
	return true
}

// unwritten is the error for who asked for a change of a lease that cannot be put on disk. The environment stays as it was.
func unwritten(id, pool string, err error) *FailedError {
	b := diskError(err)
	if s := machineSymptom(err.Error()); s != nil {
		b.Cause, b.Hint = s.cause, s.hint
	}
	if b.Hint == "" {
		b.Hint = "look at that file, and ask again"
	}
	b.Message = fmt.Sprintf("%s stays as it is: %s", id, err)
	return &FailedError{homeOf(pool), b, -1}
}
