//go:build unix

package safefile

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func put(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// places is a folder with one of each kind of thing that can lie where a file should be, by what is said of it.
func places(t *testing.T) map[string]string {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	target := put(t, at("target"), "precious")
	ln, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	if err := errors.Join(os.Symlink(target, at("link")), os.Symlink(at("nothing"), at("dangling")),
		syscall.Mkfifo(at("pipe"), 0o600),
		os.Mkdir(at("folder"), 0o700)); err != nil {
		t.Fatal(err)
	}
	return map[string]string{"a link": at("link"), "a link to nothing": at("dangling"), "a named pipe": at("pipe"),
		"a folder": at("folder"),
		"a socket": at("socket"), "a device": "/dev/zero"}
}

func TestAFileOfOursIsNothingElse(t *testing.T) {
	for is, path := range places(t) {
		is = strings.TrimSuffix(is, " to nothing")
		_, read := ReadOwn(path, 10)
		_, locked := NewLock(path).TryLock()
		for how, err := range map[string]error{"read": read, "write": WriteOwn(path, []byte("x"), 0o600),
			"lock": locked} {
			var e *Error
			if !errors.As(err, &e) || e.Says != "is "+is+", not a file" {
				t.Errorf("%s of %s: %v", how, path, err)
			}
		}
		if err := Folder(path); is != "a folder" &&
			(err == nil || !strings.HasSuffix(err.Error(), "is "+is+", not a folder")) {
			t.Errorf("folder at %s: %v", path, err)
		}
	}
}

func TestNothingIsWrittenToAFileThatHasASecondName(t *testing.T) {
	dir := t.TempDir()
	first, second := put(t, filepath.Join(dir, "first"), "precious"), filepath.Join(dir, "second")
	if err := os.Link(first, second); err != nil {
		t.Fatal(err)
	}
	if err := WriteOwn(second, []byte("x"), 0o600); err == nil || !strings.Contains(err.Error(), "second name") {
		t.Errorf("got %v", err)
	}
	if data, err := ReadOwn(second, 10); err != nil || string(data) != "precious" {
		t.Errorf("got %q, %v", data, err)
	}
}

func TestAFileOfTheUsersMayBeALinkAndNothingThatWaits(t *testing.T) {
	for is, path := range places(t) {
		data, err := Read(path, 10)
		switch is {
		case "a link":
			if err != nil || string(data) != "precious" {
				t.Errorf("got %q, %v", data, err)
			}
		case "a link to nothing":
			if !errors.Is(err, os.ErrNotExist) {
				t.Errorf("got %v", err)
			}
		default:
			if err == nil || err.Error() != path+" is "+is+", not a file" {
				t.Errorf("got %v", err)
			}
		}
	}
	if data, err := Read(os.DevNull, 10); err != nil || len(data) > 0 {
		t.Errorf("got %q, %v", data, err)
	}
}

func TestMoreThanTheLimitIsNotRead(t *testing.T) {
	path := put(t, filepath.Join(t.TempDir(), "file"), "12345")
	if data, err := Read(path, 5); err != nil || string(data) != "12345" {
		t.Errorf("got %q, %v", data, err)
	}
	if err := os.Truncate(path, 4<<40); err != nil { // without a block of it on disk
		t.Skip(err)
	}
	if _, err := ReadOwn(path, 1<<20); err == nil || err.Error() != path+" is larger than 1 MiB" {
		t.Errorf("got %v", err)
	}
	if _, err := Read("/proc/self/status", 5); err == nil || !strings.HasSuffix(err.Error(), "is larger than 5 B") {
		if _, serr := os.Stat("/proc/self/status"); serr == nil {
			t.Errorf("got %v", err) // it says that it is empty
		}
	}
}

func TestALockKeepsOthersOut(t *testing.T) {
	dir := t.TempDir()
	for _, two := range [][2]*Lock{
		{NewLock(filepath.Join(dir, "lock")), NewLock(filepath.Join(dir, "lock"))},
		{NewFolderLock(dir), NewFolderLock(dir)},
	} {
		if ok, err := two[0].TryLock(); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if ok, err := two[1].TryLock(); ok || err != nil {
			t.Error(ok, err)
		}
		if err := two[0].Close(); err != nil {
			t.Error(err)
		}
		if ok, err := two[1].TryLock(); !ok || err != nil {
			t.Error(ok, err)
		}
		_ = two[1].Close()
	}
}
