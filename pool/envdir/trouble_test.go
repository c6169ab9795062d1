package envdir

import (
	"errors"
	"io/fs"
	"syscall"
	"testing"
)

func TestOnlyTheMachinesFaultsAreNoDamage(t *testing.T) {
	for err, want := range map[error]bool{
		syscall.EIO: true, syscall.EROFS: true, syscall.ENOSPC: true, syscall.EDQUOT: true, syscall.EMFILE: true,
		syscall.ESTALE: true,
		syscall.ENOENT: false, syscall.ENOTDIR: false, syscall.EACCES: false, syscall.ELOOP: false,
		errors.New("it was changed"): false,
	} {
		if got := MachineFault(&fs.PathError{Op: "open", Path: "x", Err: err}); got != want {
			t.Errorf("%v: %t", err, got)
		}
	}
}
