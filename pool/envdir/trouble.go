package envdir

import (
	"errors"
	"io/fs"
	"slices"
	"syscall"

	"runtimed/pool/builder"
)

// MachineFault reports whether err is the machine's: a disk that is full, failing or read-only, or too many open
// files. Then nothing is known to be damaged. A file that is gone, forbidden or of another type is damage.
func MachineFault(err error) bool {
	if b, ok := errors.AsType[*builder.Error](err); ok {
		return b.Machine
	}
	number, ok := errors.AsType[syscall.Errno](err)
	if !ok || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return false
	}
	switch number {
	case syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP, syscall.ENAMETOOLONG, syscall.EINVAL, syscall.ENOEXEC,
		syscall.EEXIST, syscall.ENOTEMPTY, syscall.EBUSY, syscall.EXDEV:
		return false
	}
	return !slices.Contains(damageHere, number)
}
