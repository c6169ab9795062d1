package server

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"runtimed/internal/testkit"
	"runtimed/rpc"
)

func TestAnotherUserIsClosedWithoutAWordAndLoggedOnce(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can connect as another user")
	}
	core, logs := observer.New(zap.InfoLevel)
	b := start(t, func(b *bench) { b.log = zap.New(core) })
	for path := filepath.Dir(b.path); path != os.TempDir() && path != "/"; path = filepath.Dir(path) {
		os.Chmod(path, 0o711) // let the stranger in as far as the file system goes
	}
	os.Chmod(b.path, 0o666)
	for range 3 {
		fd := connectAs(t, 65534, b.path)
		unix.Write(fd, []byte(req("1", rpc.MethodPing)+"\n"))
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 30})
		buf := make([]byte, 100)
		if n, err := unix.Read(fd, buf); n > 0 || err == unix.EAGAIN {
			t.Errorf("got %q, %v", buf[:max(n, 0)], err)
		}
		unix.Close(fd)
	}
	if logs.Len() != 1 || logs.All()[0].ContextMap()["uid"] != int64(65534) {
		t.Errorf("logged %v", logs.All())
	}
}

// connectAs connects as another user.
func connectAs(t *testing.T, uid int, path string) int {
	return socketAs(t, uid, func(fd int) error { return unix.Connect(fd, &unix.SockaddrUnix{Name: path}) })
}

func TestAClientTrustsNoDaemonOfAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("only root can listen as another user")
		}
		t.Skip("only root can listen as another user")
	}
	path := filepath.Join(shortDir(t), "s")
	for dir := filepath.Dir(path); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		os.Chmod(dir, 0o777)
	}
	fd := socketAs(t, 65534, func(fd int) error {
		if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
			return err
		}
		return unix.Listen(fd, 5)
	})
	defer unix.Close(fd)
	_, err := rpc.Dial(t.Context(), path, rpc.ClientOptions{})
	var told *rpc.Error
	if !errors.As(err, &told) || told.Data.Kind != rpc.KindUntrusted || !strings.Contains(told.Message, path) ||
		!strings.Contains(told.Message, "(uid 65534)") || !strings.Contains(told.Data.Hint, "RUNTIMED_SOCKET") {
		t.Fatalf("got %v", err)
	}
	in, _, err := unix.Accept(fd)
	testkit.Check(t, err)
	defer unix.Close(in)
	if n, err := unix.Read(in, make([]byte, 100)); n != 0 || err != nil {
		t.Errorf("the stranger was sent %d bytes, %v", n, err)
	}
}

// socketAs makes a socket and uses it as another user. Only this goroutine's thread changes, and it is thrown away
// afterwards.
func socketAs(t *testing.T, uid int, use func(fd int) error) int {
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
			err = use(fd)
		}
		done <- result{fd, err}
	}()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.fd
}
