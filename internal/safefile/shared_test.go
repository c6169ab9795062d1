package safefile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAFileThatIsOpenCanBeRenamedAndRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 50), strings.Repeat("path", 50))
	check(t, os.MkdirAll(dir, 0o700))
	path, moved := filepath.Join(dir, "file"), filepath.Join(dir, "moved")
	for how, open := range map[string]func() (*os.File, error){
		"of our own, to read":   func() (*os.File, error) { return OpenOwn(path, os.O_RDONLY, 0) },
		"of our own, to write":  func() (*os.File, error) { return OpenOwn(path, os.O_RDWR, 0) },
		"of our own, to append": func() (*os.File, error) { return OpenOwn(path, os.O_APPEND|os.O_WRONLY, 0) },
		"of the user's":         func() (*os.File, error) { return Open(path) },
	} {
		check(t, WriteOwn(path, []byte("text"), 0o600))
		f, err := open()
		check(t, err)
		if err := os.Rename(path, moved); err != nil {
			t.Errorf("%s: %v", how, err)
		}
		if err := os.Remove(moved); err != nil {
			t.Errorf("%s: %v", how, err)
		}
		check(t, f.Close())
	}
}

func TestAFileOfOurOwnIsOpenedAsOpenFileDoes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if _, err := OpenOwn(path, os.O_RDWR, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	write := func(flag int, text string) {
		t.Helper()
		f, err := OpenOwn(path, flag, 0o600)
		check(t, err)
		_, err = io.WriteString(f, text)
		check(t, errors.Join(err, f.Close()))
	}
	write(os.O_WRONLY|os.O_CREATE|os.O_EXCL, "one two")
	if _, err := OpenOwn(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second: %v", err)
	}
	write(os.O_WRONLY|os.O_CREATE, "ONE")
	write(os.O_APPEND|os.O_CREATE|os.O_WRONLY, " three")
	write(os.O_APPEND|os.O_RDWR, "!")
	if data, err := ReadOwn(path, 100); err != nil || string(data) != "ONE two three!" {
		t.Errorf("got %q, %v", data, err)
	}
	write(os.O_WRONLY|os.O_TRUNC, "new")
	if data, err := ReadOwn(path, 100); err != nil || string(data) != "new" {
		t.Errorf("got %q, %v", data, err)
	}
}

func TestALockedFileTellsWhoHoldsIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, second := NewLock(path), NewFileLock(path)
	if ok, err := first.TryLock(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	check(t, WriteOwn(path, []byte("me"), 0o600))
	if data, err := ReadOwn(path, 10); err != nil || string(data) != "me" {
		t.Errorf("got %q, %v", data, err)
	}
	for how, try := range map[string]func() (bool, error){"alone": second.TryLock, "shared": second.Share} {
		if ok, err := try(); ok || err != nil {
			t.Errorf("%s: %v, %v", how, ok, err)
		}
	}
	check(t, first.Close())
	if ok, err := second.TryLock(); !ok || err != nil {
		t.Error(ok, err)
	}
	check(t, second.Close())
}

func TestAScratchFileLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} {
		t.Setenv(name, dir)
	}
	f, err := Scratch("scratch-")
	check(t, err)
	_, err = f.WriteString("text")
	check(t, err)
	data := make([]byte, 4)
	if _, err := f.ReadAt(data, 0); err != nil || string(data) != "text" {
		t.Errorf("got %q, %v", data, err)
	}
	check(t, f.Close())
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
}

// kept is what Go says of a file that OneDrive keeps.
type kept struct{ fs.FileInfo }

func (kept) Mode() fs.FileMode { return fs.ModeIrregular | 0o666 }

func TestAFileOfTheUsersMayBeKeptByOneDrive(t *testing.T) {
	if err := readable("notes.py", kept{}); err != nil {
		t.Error(err)
	}
	if err := regular("runtimed.json", kept{}); err == nil {
		t.Error("a file of our own may be: a junction is said to be the same")
	}
}
