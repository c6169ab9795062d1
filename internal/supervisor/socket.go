package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"runtimed/internal/statedir"
)

// The service manager is asked for so long to make the socket's file again, and no sooner than after the pause once
// more.
const (
	remakeTime  = 5 * time.Second
	remakePause = time.Minute
)

// Listener is the socket that the service manager listens on and has passed to us. It stays the manager's: we never
// remove its file nor bind it again, so that whoever connects while no daemon runs waits for the next one.
type Listener struct {
	*net.UnixListener
	unit  string    // that made it
	asked time.Time // for the file, last
}

// Unit is the systemd unit that made the socket.
func (l *Listener) Unit() string { return l.unit }

// SocketError is what is wrong with what the manager passed.
type SocketError struct{ text string }

func (e *SocketError) Error() string { return "the service manager passed " + e.text }

// Listener is the one socket that was passed, which must be the one where clients look; nil where none was.
func (s *Supervisor) Listener(path string) (*Listener, error) {
	if len(s.sockets) == 0 {
		return nil, nil
	}
	if len(s.sockets) > 1 {
		return nil, &SocketError{fmt.Sprintf("%d sockets, and one is expected", len(s.sockets))}
	}
	f := s.sockets[0]
	defer f.Close() // the listener has a copy
	if !listens(f) {
		return nil, &SocketError{"what is no listening stream socket"}
	}
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, &SocketError{"a socket that cannot be used: " + err.Error()}
	}
	ul, ok := ln.(*net.UnixListener)
	if !ok {
		_ = ln.Close()
		return nil, &SocketError{fmt.Sprintf("a socket at %s, which is not a Unix socket", ln.Addr())}
	}
	if at := ul.Addr().String(); !statedir.SamePlace(at, path) {
		_ = ul.Close()
		return nil, &SocketError{fmt.Sprintf("the socket %s, and clients look at %s", at, path)}
	}
	unit := f.Name() // systemd names it after the unit, unless that says otherwise
	if !strings.HasSuffix(unit, ".socket") {
		unit = "runtimed.socket"
	}
	return &Listener{UnixListener: ul, unit: unit}, nil
}

// Remake has the manager make the socket's file again, which only it can. That restarts the service too: its unit
// requires that of the socket, so both are one job, which this process need not live to see. It returns false where the
// manager was asked a short while ago.
func (l *Listener) Remake(ctx context.Context) (bool, error) {
	if !l.asked.IsZero() && time.Since(l.asked) < remakePause {
		return false, nil
	}
	l.asked = time.Now()
	ctx, cancel := context.WithTimeout(ctx, remakeTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "systemctl", "--user", "--no-block", "restart", l.unit)
	cmd.WaitDelay = time.Second
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "NOTIFY_SOCKET=") })
	out, err := cmd.CombinedOutput()
	if said := strings.TrimSpace(string(out)); err != nil && said != "" {
		err = errors.New(said)
	}
	return true, err
}
