package testkit

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"runtimed/internal/statedir"
)

// MountTmpfs mounts a file system of that size over dir; flags are those of mount(2).
func MountTmpfs(t *testing.T, dir, size string, flags ...uintptr) {
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

// BindMount mounts the folder from at the path at, until the test ends or unmount is called with its path of then.
func BindMount(t *testing.T, from, at string) (unmount func(at string)) {
	t.Helper()
	if err := syscall.Mount(from, at, "", syscall.MS_BIND, ""); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("nothing can be mounted here: %v", err)
	}
	done := false
	unmount = func(at string) {
		if err := syscall.Unmount(at, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
		done = true
	}
	t.Cleanup(func() {
		if !done { // else the test's cleanup would go through it
			for _, at := range statedir.Mounts(filepath.Dir(from)) {
				_ = syscall.Unmount(at, syscall.MNT_DETACH)
			}
		}
	})
	return unmount
}

const MountReadOnly uintptr = syscall.MS_RDONLY
