package pool

import (
	"errors"
	"io/fs"
	"syscall"
	"testing"
)

func TestADiskThatFailsWhileABuildIsLookedThroughBlamesNoLockFile(t *testing.T) {
	err := notWhole(t.Context(), &fs.PathError{Op: "read", Path: "x", Err: syscall.EIO})
	if !trouble(err) || mayBlame(err) {
		t.Errorf("%+v", err)
	}
	if err := notWhole(t.Context(), errors.New("x is gone")); trouble(err) || !mayBlame(err) {
		t.Errorf("%+v", err)
	}
}
