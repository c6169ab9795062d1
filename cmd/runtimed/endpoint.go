package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/fx"
	"go.uber.org/zap"

	"runtimed/internal/statedir"
	"runtimed/internal/supervisor"
	"runtimed/rpc"
	"runtimed/rpc/server"
)

const (
	// guardTime is how long the socket, daemon.json or the lock file may be missing after somebody deleted them.
	guardTime = 2 * time.Second
	// firstCallTime is how long a stop leaves a client that has just connected for its first call.
	firstCallTime = 50 * time.Millisecond
)

// endpoint is the socket and daemon.json.
type endpoint struct {
	at       statedir.Paths
	about    about
	log      *logbook
	passed   *supervisor.Listener // nil unless a service manager listens for us
	locks    *statedir.Locks
	server   *server.Server
	pools    *pools
	notifier *supervisor.Notifier
	exit     exit

	work     sync.WaitGroup            // serving
	lastCall atomic.Pointer[time.Time] // when somebody last connected

	// start and guard write these, one after the other, and stop reads them when guard has ended
	listener net.Listener
	bound    fs.FileInfo // the socket that is ours; nothing else at its path is ever removed
	status   fs.FileInfo // the daemon.json that is ours
	noStatus bool        // daemon.json cannot be written, and that was logged
}

func newServer(methods []server.Method, log *zap.Logger) *server.Server {
	return server.New(methods, log.Named("rpc"))
}

func newEndpoint(lc fx.Lifecycle, at statedir.Paths, a about, log *logbook, passed *supervisor.Listener,
	locks *statedir.Locks, srv *server.Server, p *pools, n *supervisor.Notifier, exit exit,
) *endpoint {
	e := &endpoint{
		at: at, about: a, log: log, passed: passed, locks: locks, server: srv, pools: p, notifier: n, exit: exit,
	}
	lc.Append(fx.StartStopHook(e.start, e.stop))
	background(lc, e.guard)
	return e
}

func (e *endpoint) start() (err error) {
	if e.listener, err = e.listen(); err != nil {
		return err
	}
	e.keepStatus()
	e.log.catchCrashes()
	e.log.Info("listening", zap.String("socket", e.at.Socket))
	if usual, err := rpc.Paths("", ""); err == nil && usual.Socket != e.at.Socket {
		e.log.Info("clients find this socket only with RUNTIMED_SOCKET=" + e.at.Socket)
	}
	e.serve(e.listener)
	e.notifier.Ready()
	return nil
}

// listen opens the socket, and remembers which file it is. One that a service manager passed is open.
func (e *endpoint) listen() (net.Listener, error) {
	if e.passed != nil {
		info, err := os.Lstat(e.at.Socket)
		if err != nil || info.Mode().Type() != fs.ModeSocket {
			return e.passed, nil // guard has it made again
		}
		if info.Mode().Perm()&0o077 != 0 {
			err = os.Chmod(e.at.Socket, 0o600)
			e.log.Warn("the service manager has opened the socket to others; it is closed to them now",
				zap.Stringer("mode_was", info.Mode().Perm()), zap.Error(err))
		}
		e.bound = info
		return e.passed, err
	}
	if err := os.MkdirAll(e.at.Folder, 0o700); err != nil {
		return nil, fmt.Errorf("opening socket: %w", err)
	}
	listener, err := rpc.Listen(e.at.Socket)
	if err != nil || !statedir.SocketIsFile {
		return listener, err
	}
	if e.bound, err = os.Lstat(e.at.Socket); err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("looking at the socket: %w", err)
	}
	return listener, nil
}

// lost says whether path is another file than ours, or none.
func lost(path string, ours fs.FileInfo) bool {
	now, err := os.Lstat(path)
	return err != nil || ours == nil || !os.SameFile(now, ours)
}

// noting is a listener that notes when somebody last connected.
type noting struct {
	net.Listener
	last *atomic.Pointer[time.Time]
}

func (n noting) Accept() (net.Conn, error) {
	nc, err := n.Listener.Accept()
	if err == nil {
		now := time.Now()
		n.last.Store(&now)
	}
	return nc, err
}

func (e *endpoint) serve(listener net.Listener) {
	e.work.Go(func() {
		err := e.server.Serve(noting{listener, &e.lastCall})
		if err != nil && !errors.Is(err, net.ErrClosed) { // guard closes one that nobody can reach
			e.log.Error("the socket cannot be served any more", zap.Error(err))
			e.exit.end(exitCrash)
		}
	})
}

// guard puts back what somebody deletes under a running daemon: nobody could reach it without its socket, and a second
// one could start without its lock file. Connections that are open stay.
func (e *endpoint) guard(ctx context.Context) {
	tick := time.NewTicker(guardTime)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if statedir.SocketIsFile && lost(e.at.Socket, e.bound) && !e.reopen(ctx) {
			return
		}
		e.locks.Restore(func(path string, err error) {
			e.log.Warn("the lock file was deleted by somebody; it is taken again", zap.String("path", path),
				zap.Error(err))
		})
		e.log.restore()
		if _, err := os.Lstat(e.at.Status()); errors.Is(err, fs.ErrNotExist) {
			e.keepStatus()
		}
	}
}

// reopen opens the socket again that is gone. Where it cannot, it ends the daemon and returns false.
func (e *endpoint) reopen(ctx context.Context) bool {
	if e.passed != nil {
		e.remake(ctx)
		return true
	}
	again, err := e.listen()
	if err != nil {
		e.log.Error("the socket is gone, and cannot be opened again", zap.Error(err))
		e.exit.end(exitCrash)
		return false
	}
	e.log.Warn("the socket was removed by somebody; it is opened again", zap.String("socket", e.at.Socket))
	e.serve(again)
	_ = e.listener.Close()
	e.listener = again
	return true
}

// remake has the service manager make the file of its socket again, which restarts us.
func (e *endpoint) remake(ctx context.Context) {
	asked, err := e.passed.Remake(ctx)
	switch {
	case !asked || ctx.Err() != nil:
	case err != nil:
		e.log.Error("the socket was removed by somebody, and the service manager does not make it again",
			zap.String("socket", e.at.Socket), zap.String("try", "systemctl --user restart "+e.passed.Unit()),
			zap.Error(err))
	default:
		e.log.Warn("the socket was removed by somebody; the service manager makes it again",
			zap.String("socket", e.at.Socket))
	}
}

// stop answers who waits, finishes what is being answered, and takes the socket away, unless it is a service manager's.
func (e *endpoint) stop(ctx context.Context) error {
	e.notifier.Stopping()
	if e.passed != nil {
		_ = e.passed.Close() // whoever connects from here on waits for the next daemon
		if last := e.lastCall.Load(); last != nil {
			time.Sleep(time.Until(last.Add(firstCallTime))) // whoever came just before may call, and gets an answer
		}
	}
	e.pools.Close() // waiters get shutting_down, so that their calls end
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	err := e.server.Shutdown(ctx)
	e.work.Wait()
	ours := map[string]fs.FileInfo{e.at.Status(): e.status}
	if e.passed == nil && statedir.SocketIsFile {
		ours[e.at.Socket] = e.bound
	}
	for path, file := range ours {
		if lost(path, file) {
			continue // somebody else's by now
		}
		if rerr := os.Remove(path); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	return err
}
