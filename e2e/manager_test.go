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

	"runtimed/rpc"
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
	check(t, os.MkdirAll(u.state(), 0o700))
	u.listener = u.listen(u.socket)
	u.file = u.copyOf(u.listener)
	u.hearAt(filepath.Join(filepath.Dir(u.home), "notify"))
	u.setenv("INVOCATION_ID", "0123456789abcdef0123456789abcdef")
	u.passing(1)
	return u
}

// passing has the daemon told of so many sockets. Only the process that the manager starts is meant, so its number is
// there too.
func (u *unit) passing(n int) {
	u.script = fmt.Sprintf(`export LISTEN_PID=$$ LISTEN_FDS=%d LISTEN_FDNAMES=runtimed.socket; exec "$@"`, n)
}

func (u *unit) listen(path string) *net.UnixListener {
	u.t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	check(u.t, err)
	ln.SetUnlinkOnClose(false)
	u.t.Cleanup(func() { _ = ln.Close() })
	return ln
}

func (u *unit) copyOf(conn interface{ File() (*os.File, error) }) *os.File {
	u.t.Helper()
	f, err := conn.File()
	check(u.t, err)
	u.t.Cleanup(func() { _ = f.Close() })
	return f
}

func (u *unit) hearAt(path string) {
	u.t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	check(u.t, err)
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

func TestTheManagerHearsHowTheDaemonIs(t *testing.T) {
	t.Parallel()
	u := newUnit(t)
	u.withStandIn("sleep 600 & wait")
	d := u.started()
	if first := u.heard()[0]; !strings.HasPrefix(first, "READY=1\nSTATUS=") {
		t.Errorf("its first words are %q", first)
	}
	u.hears("STATUS=uv: off; conda: off")

	before := len(u.heard())
	u.configure("[pools.uv]\nsize = 2\n")
	must[rpc.ReloadResult](u.house, rpc.MethodReload, nil)
	u.hears("STATUS=uv: 0 of 2 ready, 2 warming; conda: off")
	var kinds []string
	for _, said := range u.heard()[before:] {
		kind, _, _ := strings.Cut(said, "=")
		if kind != "STATUS" {
			kinds = append(kinds, kind)
		}
		if kind == "RELOADING" && !strings.Contains(said, "\nMONOTONIC_USEC=") {
			t.Errorf("a reload without its time: %q", said)
		}
	}
	// the second, where the change of the file was seen as well
	if got := strings.Join(kinds, " "); got != "RELOADING READY" && got != "RELOADING READY RELOADING READY" {
		t.Errorf("around a reload it says %s", got)
	}

	d.stop()
	time.Sleep(100 * time.Millisecond)
	said := u.heard()
	if last := said[len(said)-1]; !strings.HasPrefix(last, "STOPPING=1") {
		t.Errorf("its last words are %q", last)
	}
}

func TestTheWatchdogIsFedAlsoWhileABuildHangs(t *testing.T) {
	t.Parallel()
	u := newUnit(t)
	u.withStandIn("sleep 600 & wait")
	u.configure("[pools.uv]\nsize = 1\n")
	u.setenv("WATCHDOG_USEC", "2000000")
	d := u.started()
	u.eventually(10*time.Second, "a build hangs", func() bool { return u.pool("uv").Warming == 1 })
	count := func() int { return strings.Count(strings.Join(u.heard(), "\n"), "WATCHDOG=1") }
	for range 3 {
		before := count()
		u.eventually(2*time.Second, "the watchdog is fed", func() bool { return count() > before })
	}
	time.Sleep(time.Second)
	if n := count(); n > 20 {
		t.Errorf("it was fed %d times", n)
	}
	d.stop()
}

func TestWhatBelongsToAnotherServiceIsLeftAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env   [2]string
		flags []string
		want  string
	}{
		"a terminal that is a service": {[2]string{"SYSTEMD_EXEC_PID", "1"}, nil, rpc.StartedByHand},
		"a service that runs a command": {
			[2]string{"WATCHDOG_USEC", "100000"}, []string{"--auto"}, rpc.StartedByCommand,
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.configure(off)
			u := &unit{house: h}
			u.hearAt(filepath.Join(filepath.Dir(h.home), "notify"))
			u.setenv("INVOCATION_ID", "0123456789abcdef0123456789abcdef")
			u.setenv("LISTEN_PID", "1")
			u.setenv("LISTEN_FDS", "1")
			u.setenv(c.env[0], c.env[1])
			u.start(c.flags...)
			if info := must[rpc.Info](h, rpc.MethodInfo, nil); info.StartedBy != c.want {
				t.Errorf("it was started by %s", info.StartedBy)
			}
			time.Sleep(300 * time.Millisecond)
			if said := u.heard(); len(said) > 0 {
				t.Errorf("it told another's manager %q", said)
			}
		})
	}
}
