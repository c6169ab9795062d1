package rpc

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"
)

// connectAs connects as another user. Only this goroutine's thread changes, and it is thrown away afterwards.
func connectAs(t *testing.T, uid int, path string) int {
	t.Helper()
	type result struct {
		fd  int
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
				err = errno
			}
		}
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		}
		done <- result{fd, err}
	}()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.fd
}

func TestAnotherUserIsClosedWithoutAWordAndLoggedOnce(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can connect as another user")
	}
	core, logs := observer.New(zap.InfoLevel)
	b := start(t, Options{Log: zap.New(core)})
	for path := filepath.Dir(b.path); path != os.TempDir() && path != "/"; path = filepath.Dir(path) {
		os.Chmod(path, 0o711) // let the stranger in as far as the file system goes
	}
	os.Chmod(b.path, 0o666)
	for range 3 {
		fd := connectAs(t, 65534, b.path)
		unix.Write(fd, []byte(req("1", MethodPing)+"\n"))
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
		buf := make([]byte, 100)
		begun := time.Now()
		if n, _ := unix.Read(fd, buf); n > 0 || time.Since(begun) > 4*time.Second {
			t.Errorf("got %q", buf[:max(n, 0)])
		}
		unix.Close(fd)
	}
	if logs.Len() != 1 || logs.All()[0].ContextMap()["uid"] != int64(65534) {
		t.Errorf("logged %v", logs.All())
	}
}
