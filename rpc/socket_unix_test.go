//go:build unix

package rpc

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"runtimed/internal/testkit"
)

// shortDir is a folder with a path that leaves room for a socket's name on every system.
func shortDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "rt")
	testkit.Check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// place is where a test may listen.
func place(t testing.TB) string { return filepath.Join(shortDir(t), "s") }

func TestTheSocketIsItsOwnersFromTheFirstMoment(t *testing.T) {
	for _, mask := range []int{0, 0o077, 0o177, 0o777} {
		dir := shortDir(t)
		path := filepath.Join(dir, "s")
		old := syscall.Umask(mask)
		var seen, wrong atomic.Int32
		stop, stopped := make(chan bool), make(chan bool)
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				default:
				}
				if info, err := os.Lstat(path); err == nil {
					seen.Add(1)
					if info.Mode().Perm()&0o177 != 0 {
						wrong.Add(1)
					}
				}
			}
		}()
		for range 300 {
			ln, err := Listen(path)
			testkit.Check(t, err)
			if info, _ := os.Lstat(path); info.Mode().Perm() != 0o600 {
				t.Errorf("umask %04o: mode %v", mask, info.Mode())
			}
			ln.Close()
			os.Remove(path)
		}
		close(stop)
		<-stopped
		syscall.Umask(old)
		if runtime.GOOS == "linux" && wrong.Load() > 0 {
			t.Errorf("umask %04o: open to others in %d of %d looks", mask, wrong.Load(), seen.Load())
		}
	}
}

func TestListenReplacesADeadSocketOnly(t *testing.T) {
	dir := shortDir(t)
	path := filepath.Join(dir, "s")
	first, err := Listen(path)
	testkit.Check(t, err)
	first.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatalf("closing removed the file: %v", err)
	}
	second, err := Listen(path)
	if err != nil {
		t.Fatalf("a dead socket: %v", err)
	}
	defer second.Close()
	first.Close() // an old listener never takes the new socket away
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}

	file := filepath.Join(dir, "file")
	os.WriteFile(file, []byte("precious"), 0o600)
	link := filepath.Join(dir, "link")
	os.Symlink(path, link)
	folder := filepath.Join(dir, "folder")
	os.Mkdir(folder, 0o700)
	for _, p := range []string{file, link, folder} {
		if _, err := Listen(p); err == nil || !strings.Contains(err.Error(), p) {
			t.Errorf("%s: %v", p, err)
		}
		if _, err := os.Lstat(p); err != nil {
			t.Errorf("%s is gone", p)
		}
	}
	if b, _ := os.ReadFile(file); string(b) != "precious" {
		t.Error("the file was changed")
	}
	if _, err := Listen(filepath.Join(dir, "none", "s")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	wide := filepath.Join(dir, "wide")
	os.Mkdir(wide, 0o755)
	if _, err := Listen(filepath.Join(wide, "s")); err == nil || !strings.Contains(err.Error(), wide) {
		t.Errorf("a wide folder: %v", err)
	}
}

func TestThePeerIsWhoConnects(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	ln, err := Listen(path)
	testkit.Check(t, err)
	defer ln.Close()
	nc, err := net.Dial("unix", path)
	testkit.Check(t, err)
	defer nc.Close()
	in, err := ln.AcceptUnix()
	testkit.Check(t, err)
	defer in.Close()
	if got, err := PeerOf(in); err != nil || got != (Peer{UID: os.Getuid(), PID: os.Getpid()}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestTheClientSaysWhyTheDaemonIsNotReached(t *testing.T) {
	dir := shortDir(t)
	file := filepath.Join(dir, "file")
	os.WriteFile(file, nil, 0o600)
	dead := filepath.Join(dir, "dead")
	ln, err := Listen(dead)
	testkit.Check(t, err)
	ln.Close()
	for path, want := range map[string]string{
		filepath.Join(dir, "none"):            "not running",
		dead:                                  "not running",
		file:                                  "is a file",
		"/" + strings.Repeat("x", 200):        "RUNTIMED_SOCKET",
		filepath.Join(dir, "no", "such", "s"): "not running",
	} {
		_, err := Dial(t.Context(), path, ClientOptions{})
		if KindOf(err) != KindUnreachable || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
