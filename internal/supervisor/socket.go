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

// remakeTime bounds the request to make the socket's file again, and remakePause is between two requests.
const (
	remakeTime  = 5 * time.Second
	remakePause = time.Minute
)

// Listener is a socket that the service manager passed to us and keeps. Its file is never removed or bound again, so
// clients that connect between two daemons wait for the next one.
type Listener struct {
	*net.UnixListener
	Unit  string    // the systemd unit of the socket
	asked time.Time // Remake was called last
}

// SocketError says what is wrong with a passed socket.
type SocketError struct{ text string }

func (e *SocketError) Error() string { return "the service manager passed " + e.text }

// Listener returns the passed socket, which must be the one where clients look; nil if none was passed.
func (s *Supervisor) Listener(clients statedir.Paths) (*Listener, error) {
	if len(s.sockets) == 0 {
		return nil, nil
	}
	if len(s.sockets) > 1 {
		return nil, &SocketError{fmt.Sprintf("%d sockets, and one is expected", len(s.sockets))}
	}
	f := s.sockets[0]
	defer f.Close() // the listener has a duplicate
	if !listens(f) {
		return nil, &SocketError{"something other than a listening stream socket"}
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
	if at := ul.Addr().String(); !statedir.SamePlace(at, clients.Socket) {
		_ = ul.Close()
		return nil, &SocketError{fmt.Sprintf("the socket %s, and clients look at %s", at, clients.Socket)}
	}
	unit := f.Name() // its default name
	if !strings.HasSuffix(unit, ".socket") {
		unit = "runtimed.socket"
	}
	return &Listener{UnixListener: ul, Unit: unit}, nil
}

// Remake has the manager make the socket's file again. This also restarts the service, in the same job, which this
// process need not survive. It returns false if the manager was asked recently.
func (l *Listener) Remake(ctx context.Context) (bool, error) {
	if !l.asked.IsZero() && time.Since(l.asked) < remakePause {
		return false, nil
	}
	l.asked = time.Now()
	ctx, cancel := context.WithTimeout(ctx, remakeTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "systemctl", "--user", "--no-block", "restart", l.Unit)
	cmd.WaitDelay = time.Second
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "NOTIFY_SOCKET=") })
	out, err := cmd.CombinedOutput()
	if said := strings.TrimSpace(string(out)); err != nil && said != "" {
		err = errors.New(said)
	}
	return true, err
}
