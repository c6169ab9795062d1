package statedir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func put(t *testing.T, path string, text ...string) string {
	t.Helper()
	data := ""
	for _, line := range text {
		data += line
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(data), 0o600)); err != nil {
		t.Fatal(err)
	}
	return path
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestATreeOfAnyDepthIsRemovedWithFewFoldersOpen(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := root.Mkdir("tree", 0o700); err != nil {
		t.Fatal(err)
	}
	at := root
	deep := 2100 // its path is longer than the system takes
	if runtime.GOOS == "windows" {
		deep = 200
	}
	for i := range deep {
		next, err := at.OpenRoot([]string{"tree", "d"}[min(i, 1)])
		if err == nil {
			err = next.Mkdir("d", 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
		if at != root {
			at.Close()
		}
		at = next
	}
	at.Close()
	if err := RemoveTree(dir, "tree", nil); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestALinkInThePlaceOfAFolderIsNotFollowed(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	precious := put(t, filepath.Join(outside, "x", "precious"))
	link := filepath.Join(dir, "trash")
	if err := os.Symlink(outside, link); err != nil {
		t.Skip(err)
	}
	if _, err := os.Readlink(link); err != nil {
		t.Skip("the system says that it made a link, and did not: ", err) // as Wine does
	}
	for _, place := range [][2]string{{link, "x"}, {dir, "trash/x"}, {dir, "trash/x/precious"}} {
		if err := RemoveTree(place[0], place[1], nil); err == nil || !there(precious) {
			t.Errorf("%q: %v", place, err)
		}
	}
	for _, name := range []string{"..", ".", "", "trash/.."} {
		if err := RemoveTree(dir, name, nil); err == nil {
			t.Errorf("%q is removed", name)
		}
	}
	if err := RemoveTree(dir, "trash", nil); err != nil || there(link) || !there(precious) {
		t.Errorf("the link itself: %v", err)
	}
	if err := RemoveTree(dir, "gone/x", nil); err != nil {
		t.Error(err)
	}
}

func TestAFolderThatIsSwappedForALinkDuringTheRemovalLeadsNowhere(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	for i := range 200 {
		put(t, filepath.Join(dir, "tree", fmt.Sprint(i), "f"))
		put(t, filepath.Join(outside, fmt.Sprint(i), "f"))
	}
	swapped := false
	swap := func() error {
		if !swapped {
			swapped = true
			return errors.Join(os.Rename(filepath.Join(dir, "tree"), filepath.Join(dir, "moved")),
				os.Symlink(outside, filepath.Join(dir, "tree")))
		}
		return nil
	}
	_ = RemoveTree(dir, "tree", swap) // what it says does not matter
	if !swapped {
		t.Fatal("nothing was swapped")
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) != 200 {
		t.Errorf("%d of 200 folders are left, %v", len(left), err)
	}
}

func TestOfScratchFoldersOnlyOursAreCleaned(t *testing.T) {
	dir := t.TempDir()
	ours, _, err := Scratch(dir, FetchPrefix)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(ours, "anything"))
	at := func(name string) string { return filepath.Join(dir, name) }
	put(t, at(".fetch-12/requirements.txt"), "uv==0.1.2 \\\n") // of an earlier version
	put(t, at(".fetch-12/venv/pyvenv.cfg"))
	put(t, at(".fetch-13/requirements.txt"), "django==5\n")
	put(t, at(".fetch-14/notes.txt"))
	put(t, at(".fetch-mine/venv/x"))
	put(t, at(".fetch-15"))
	if err := CleanScratch(dir, FetchPrefix); err != nil {
		t.Error(err)
	}
	for path, stays := range map[string]bool{
		ours: false, at(".fetch-12"): false, at(".fetch-13"): true, at(".fetch-14"): true, at(".fetch-mine"): true,
		at(".fetch-15"): true,
	} {
		if there(path) != stays {
			t.Errorf("%s: there is %t", path, !stays)
		}
	}
}

func TestAToolIsReplacedOnlyWhereItIsOurs(t *testing.T) {
	dir := t.TempDir()
	for name, is := range map[string]bool{"uv-0.1.2": true, "uv-0.1.3": false, "rattler-docs": false,
		"rattler-0.1.0": true} {
		text := "VIRTUAL_ENV=/home/me/venv"
		if is {
			text = "VIRTUAL_ENV=/s/tools/.fetch-12/venv"
		}
		to := filepath.Join(dir, name)
		before := put(t, filepath.Join(to, "bin", "activate"), text)
		scratch, remove, err := Scratch(dir, FetchPrefix)
		if err != nil {
			t.Fatal(err)
		}
		made := put(t, filepath.Join(scratch, "venv", "bin", "uv"))
		err = Install(filepath.Dir(filepath.Dir(made)), to)
		remove()
		if (err == nil) != is || there(before) == is || there(filepath.Join(to, "bin", "uv")) != is {
			t.Errorf("%s: %v", name, err)
		}
		if err := RemoveTool(to); (err == nil) != is || there(to) == is {
			t.Errorf("removing %s: %v", name, err)
		}
	}
}

func TestALockFileIsKnownByItsNameAndItsText(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		text string
		ours bool
	}{
		"0123456789abcdef-py3.12.txt":                           {"asttokens==3.0 \\\n    --hash=sha256:00\n", true},
		"0123456789abcdef-fedcba9876543210-py3.9-01234567.txt":  {"mine @ file:///x\n", true},
		"0123456789abcdef-linux-64-rattler.lock":                {"version: 6\n", true},
		"0123456789abcdef-0123456789abcdef-osx-arm64-conda.txt": {"@EXPLICIT\n", true},
		"0123456789abcdef-osx-arm64-micromamba.txt.old":         {"# platform: osx-arm64\n@EXPLICIT\n", true},
		"0123456789abcdef-py3.13.txt":                           {"buy milk\n", false},
		"0123456789abcde-py3.12.txt":                            {"asttokens==3.0\n", false},
		"requirements.txt":                                      {"asttokens==3.0\n", false},
		"0123456789abcdef-py3.12.txt.bak":                       {"asttokens==3.0\n", false},
		"0123456789abcdef-linux-64-pixi.lock":                   {"version: 6\n", false},
	} {
		if got := IsLock(put(t, filepath.Join(dir, name), c.text)); got != c.ours {
			t.Errorf("%s with %q: %t", name, c.text, got)
		}
	}
}
