package uv

import (
	"errors"
	"io/fs"
	"syscall"
	"testing"

	"runtimed/pool/envdir"
)

func TestADiskThatFailsWhileABuildIsLookedThroughBlamesNoLockFile(t *testing.T) {
	err := notWhole(t.Context(), &fs.PathError{Op: "read", Path: "x", Err: syscall.EIO})
	if !envdir.MachineFault(err) || mayBlame(err) {
		t.Errorf("%+v", err)
	}
	if err := notWhole(t.Context(), errors.New("x is gone")); envdir.MachineFault(err) || !mayBlame(err) {
		t.Errorf("%+v", err)
	}
}
