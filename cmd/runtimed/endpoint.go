package main

import (
	"cmp"
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
	// guardTime is how long the socket, daemon.json or the lock file can be missing.
	guardTime = 2 * time.Second
	// firstCallTime is what a stop leaves a new connection for its first call.
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

	work     sync.WaitGroup
	lastConn atomic.Pointer[time.Time] // when somebody last connected

	// written by start and then guard, read by stop after guard has ended
	listener net.Listener
	bound    fs.FileInfo // our socket; nothing else at its path is ever removed
	status   fs.FileInfo // our daemon.json
	noStatus bool        // it cannot be written, and that was logged
}

func newEndpoint(lc fx.Lifecycle, at statedir.Paths, a about, log *logbook, passed *supervisor.Listener,
	locks *statedir.Locks, methods []server.Method, p *pools, n *supervisor.Notifier, exit exit,
) *endpoint {
	e := &endpoint{
		at: at, about: a, log: log, passed: passed, locks: locks, pools: p, notifier: n, exit: exit,
		server: server.New(methods, log.Named("rpc")),
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

// listen opens the socket, unless a service manager has, and remembers which file it is.
func (e *endpoint) listen() (net.Listener, error) {
	if e.passed != nil {
		info, err := os.Lstat(e.at.Socket)
		if err != nil || info.Mode().Type() != fs.ModeSocket {
			return e.passed, nil // guard has it made
		}
		if info.Mode().Perm()&0o077 != 0 {
			err = os.Chmod(e.at.Socket, 0o600)
			e.log.Warn("the service manager has opened the socket to others; it is closed to them now",
				zap.Stringer("mode_was", info.Mode().Perm()), zap.Error(err))
		}
		e.bound = info
		return e.passed, err
	}
	if err := cmp.Or(os.MkdirAll(e.at.Folder, 0o700), statedir.CheckLocal(e.at.Folder)); err != nil {
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

// lost reports whether another file than ours is at path, or none.
func lost(path string, ours fs.FileInfo) bool {
	now, err := os.Lstat(path)
	return err != nil || ours == nil || !os.SameFile(now, ours)
}

// noting notes when somebody last connected.
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
		err := e.server.Serve(noting{listener, &e.lastConn})
		if err != nil && !errors.Is(err, net.ErrClosed) { // else guard has closed it
			e.log.Error("the socket cannot be served any more", zap.Error(err))
			e.exit.end(exitCrash)
		}
	})
}

// guard puts back what somebody deletes: nobody could reach the daemon without its socket, and a second one could
// start without its lock file. Open connections stay.
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
		if err := e.locks.Restore(func(path string, err error) {
			e.log.Warn("the lock file was deleted by somebody; it is taken again", zap.String("path", path),
				zap.Error(err))
		}); err != nil {
			e.log.Error("this daemon was taken for dead", zap.Error(err))
			e.exit.end(exitUseless)
			return
		}
		e.log.restore()
		if _, err := os.Lstat(e.at.Status()); errors.Is(err, fs.ErrNotExist) {
			e.keepStatus()
		}
	}
}

// reopen opens the lost socket again, or ends the daemon and returns false.
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

// remake has the service manager make the socket's file again, which restarts us.
func (e *endpoint) remake(ctx context.Context) {
	asked, err := e.passed.Remake(ctx)
	switch {
	case !asked || ctx.Err() != nil:
	case err != nil:
		e.log.Error("the socket was removed by somebody, and the service manager does not make it again",
			zap.String("socket", e.at.Socket), zap.String("try", "systemctl --user restart "+e.passed.Unit),
			zap.Error(err))
	default:
		e.log.Warn("the socket was removed by somebody; the service manager makes it again",
			zap.String("socket", e.at.Socket))
	}
}

// stop answers those who wait, finishes running calls, and removes the socket unless it is a service manager's.
func (e *endpoint) stop(ctx context.Context) error {
	e.notifier.Stopping()
	if e.passed != nil {
		_ = e.passed.Close() // new connections wait for the next daemon
		if last := e.lastConn.Load(); last != nil {
			time.Sleep(time.Until(last.Add(firstCallTime)))
		}
	}
	e.pools.Close() // waiters get shutting_down
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
