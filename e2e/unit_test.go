//go:build e2e && unix

package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// unit is a house whose daemon a service manager starts: the test is the manager, and holds the socket.
type unit struct {
	*house
	listener *net.UnixListener
	file     *os.File // of it, as the daemon gets it

	mu   sync.Mutex
	said []string // what the daemon told the manager
}

func newUnit(t *testing.T) *unit {
	t.Helper()
	u := &unit{house: newHouse(t)}
	u.configure(off)
	if err := os.MkdirAll(u.state(), 0o700); err != nil {
		t.Fatal(err)
	}
	u.listener = u.listen(u.socket)
	u.file = u.copyOf(u.listener)
	u.hearAt(filepath.Join(filepath.Dir(u.home), "notify"))
	u.setenv("INVOCATION_ID", "0123456789abcdef0123456789abcdef")
	u.passing(1)
	return u
}

// passing has the daemon told of so many sockets. Only the process that the manager starts is meant, so its number is there too.
func (u *unit) passing(n int) {
	u.script = fmt.Sprintf(`export LISTEN_PID=$$ LISTEN_FDS=%d LISTEN_FDNAMES=runtimed.socket; exec "$@"`, n)
}

func (u *unit) listen(path string) *net.UnixListener {
	u.t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		u.t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	u.t.Cleanup(func() { _ = ln.Close() })
	return ln
}

func (u *unit) copyOf(conn interface{ File() (*os.File, error) }) *os.File {
	u.t.Helper()
	f, err := conn.File()
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { _ = f.Close() })
	return f
}

func (u *unit) hearAt(path string) {
	u.t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { _ = conn.Close() })
	u.setenv("NOTIFY_SOCKET", path)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			u.mu.Lock()
			u.said = append(u.said, string(buf[:n]))
			u.mu.Unlock()
		}
	}()
}

// heard is what the daemon has told so far.
func (u *unit) heard() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]string(nil), u.said...)
}

// hears waits for a message that contains text.
func (u *unit) hears(text string) {
	u.t.Helper()
	u.eventually(20*time.Second, "the manager hears "+text, func() bool {
		return strings.Contains(strings.Join(u.heard(), "\n"), text)
	})
}

// run starts the daemon with what the manager passes, from descriptor 3 on, and with stderr.
func (u *unit) run(stderr *os.File, files ...*os.File) *lodger {
	u.t.Helper()
	cmd := u.command()
	cmd.ExtraFiles = files
	if stderr != nil { // a nil file is no nil writer
		cmd.Stderr = stderr
	}
	return u.begin(cmd)
}

// started is run with the manager's own socket, once the daemon has said that it is ready.
func (u *unit) started() *lodger {
	u.t.Helper()
	before := len(u.heard())
	l := u.run(nil, u.file)
	u.eventually(20*time.Second, "the daemon is ready", func() bool {
		return strings.Contains(strings.Join(u.heard()[before:], "\n"), "READY=1")
	})
	return l
}

// stop is SIGTERM, and returns once the daemon has ended as it should.
func (l *lodger) stop() {
	l.t.Helper()
	l.signal(syscall.SIGTERM)
	if code := l.exit(5 * time.Second); code != exitStopped {
		l.t.Errorf("exit code %d: %s", code, l.stderr)
	}
}
