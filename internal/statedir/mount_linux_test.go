package statedir

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestTheQuickLookAtAMountFindsWhatAnOpenFolderTells(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"folder", "bound", "tmpfs"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	put(t, filepath.Join(dir, "file"), "a")
	put(t, filepath.Join(dir, "bound file"), "b")
	if err := os.Symlink("bound", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	mount := func(from, at, kind string, flags uintptr) {
		t.Helper()
		at = filepath.Join(dir, at)
		if err := syscall.Mount(from, at, kind, flags, ""); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal(err)
			}
			t.Skipf("nothing can be mounted here: %v", err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(at, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
	}
	mount(filepath.Join(dir, "folder"), "bound", "", syscall.MS_BIND)
	mount(filepath.Join(dir, "file"), "bound file", "", syscall.MS_BIND)
	mount("tmpfs", "tmpfs", "tmpfs", 0)
	open, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	v, err := volumeOf(open)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"folder": false, "file": false, "link": false, "none": false, "bound": true, "bound file": true, "tmpfs": true,
	} {
		if got := mountedAt(open, name, v); got != want {
			t.Errorf("in the open folder, %s: %v", name, got)
		}
		if got, known := mountedPath(filepath.Join(dir, name)); known && got != want {
			t.Errorf("by the path, %s: %v", name, got)
		}
	}
}

func TestPathsOfMountinfoAreRead(t *testing.T) {
	for text, want := range map[string]string{`/a\040b`: "/a b", `/a\134b\011`: "/a\\b\t", `/a\`: `/a\`,
		`/a\09`: `/a\09`, "/é": "/é"} {
		if got := unescapeMount(text); got != want {
			t.Errorf("%s is %q, want %q", text, got, want)
		}
	}
}
