package pool

import (
	"os"
	"syscall"
	"testing"
)

// mountTmpfs puts a file system of that size over dir; flags are those of mount(2).
func mountTmpfs(t *testing.T, dir, size string, flags ...uintptr) {
	t.Helper()
	var all uintptr
	for _, f := range flags {
		all |= f
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", all, "size="+size); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("no small file system can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			_ = syscall.Unmount(dir, syscall.MNT_DETACH)
		}
	})
}

const mountReadOnly uintptr = syscall.MS_RDONLY
