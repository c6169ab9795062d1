package envdir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/windows"

	"runtimed/internal/statedir"
)

func TestAFileIsReplacedWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	var seen []FileID
	for _, text := range []string{"one", "two"} {
		if err := WriteWhole(path, []byte(text), dir); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		id, iderr := statID(path)
		if err != nil || iderr != nil || string(data) != text {
			t.Errorf("%q, %v, %v", data, err, iderr)
		}
		seen = append(seen, id)
	}
	if seen[0].Inode == seen[1].Inode {
		t.Error("the two files are the same")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%v is left", entries)
	}
}

func TestAReadOnlyFileIsReplacedAndItsSecondNameStays(t *testing.T) {
	dir := t.TempDir()
	path, second := filepath.Join(dir, "file"), filepath.Join(dir, "second")
	if err := errors.Join(os.WriteFile(path, []byte("theirs"), 0o400), os.Link(path, second)); err != nil {
		t.Fatal(err)
	}
	if err := WriteWhole(path, []byte("ours"), dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{path: "ours", second: "theirs"} {
		if data, err := os.ReadFile(name); err != nil || string(data) != want {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	_ = os.Chmod(second, 0o600)
}

func TestAFileIsReplacedOnceWhoReadsItHasClosedIt(t *testing.T) {
	for what, stays := range map[string]bool{"a reader": false, "a reader that stays": true} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "file")
			synctest.Test(t, func(t *testing.T) {
				if err := os.WriteFile(path, []byte("one"), 0o600); err != nil {
					t.Fatal(err)
				}
				f, err := os.Open(path)
				if err != nil {
					t.Fatal(err)
				}
				if !stays {
					time.AfterFunc(300*time.Millisecond, func() { f.Close() })
				}
				err = WriteWhole(path, []byte("two"), dir)
				f.Close()
				data, rerr := os.ReadFile(path)
				if want := map[bool]string{false: "two", true: "one"}[stays]; rerr != nil || string(data) != want ||
					(err != nil) != stays {
					t.Errorf("%q, %v, %v", data, err, rerr)
				}
				if entries, _ := os.ReadDir(dir); len(entries) != 1 {
					t.Errorf("%v is left", entries)
				}
			})
		})
	}
}

func TestAnEnvironmentGoesOnceWhatWasOpenBelowItIsClosed(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const id = "uv-01234567"
	if err := os.MkdirAll(s.Env(id), 0o700); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		f, err := os.Create(filepath.Join(s.Env(id), "python.exe"))
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(300*time.Millisecond, func() { f.Close() })
		if err := s.Discard(id); err != nil || Exists(s.Env(id)) {
			t.Error(err)
		}
		time.Sleep(time.Second)
	})
	if names := s.Trashed(); len(names) != 1 || s.DeleteTrashed(names[0], nil) != nil || len(s.Trashed()) != 0 {
		t.Errorf("the trash has %q", names)
	}
}

func TestNobodyWaitsForAFolderToMakeRoom(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := WriteWhole(path, []byte("x"), dir); err == nil || time.Since(start) > 0 {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}

func TestWhatTheSystemSaysOfAFileIsDamage(t *testing.T) {
	for err, fault := range map[error]bool{
		windows.ERROR_DISK_FULL: true, windows.ERROR_WRITE_PROTECT: true, windows.ERROR_CRC: true,
		windows.ERROR_SHARING_VIOLATION: true, windows.ERROR_TOO_MANY_OPEN_FILES: true,
		windows.ERROR_FILE_NOT_FOUND: false, windows.ERROR_PATH_NOT_FOUND: false, windows.ERROR_ACCESS_DENIED: false,
		windows.ERROR_DIRECTORY: false, windows.ERROR_CANT_RESOLVE_FILENAME: false, windows.ERROR_INVALID_NAME: false,
		windows.ERROR_ALREADY_EXISTS: false, windows.ERROR_DIR_NOT_EMPTY: false,
	} {
		if got := MachineFault(&fs.PathError{Op: "open", Path: "x", Err: err}); got != fault {
			t.Errorf("%v: %t", err, got)
		}
	}
}

func TestTheDiskIsLookedAt(t *testing.T) {
	dir := t.TempDir()
	if free, err := FreeSpace(dir); err != nil || free <= 0 {
		t.Errorf("%d, %v", free, err)
	}
	if !SameDevice(dir, filepath.Dir(dir)) || SameDevice(dir, filepath.Join(dir, "none")) {
		t.Error("where files can be linked is not known")
	}
	if statedir.Writable(dir) != nil || statedir.Writable(filepath.Join(dir, "none")) == nil {
		t.Error("what can be written is not known")
	}
}
