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

	"go.uber.org/zap"

	"runtimed/rpc"
	"runtimed/rpc/server"
)

// endpoint is the socket, daemon.json, and the server behind them.
type endpoint struct {
	d      *daemon
	pools  *pools
	locks  *locks
	server *server.Server
	ctx    context.Context // ends at stop
	cancel context.CancelFunc
	work   sync.WaitGroup
	called atomic.Pointer[time.Time] // when somebody last connected

	// start and guard write these, one after the other, and stop reads them when guard has ended
	bound  fs.FileInfo // the socket that is ours; nothing else at its path is ever removed
	status fs.FileInfo // the daemon.json that is ours

	noStatus bool // daemon.json cannot be written, and that was said
}

// guardTime is how long the socket, daemon.json or the lock file may be missing after somebody deleted them.
const guardTime = 2 * time.Second

// askedTime is how long a stop leaves a client that has just connected for its first question.
const askedTime = 50 * time.Millisecond

func newEndpoint(d *daemon, l *locks, p *pools, r *reloader) *endpoint {
	m := &methods{d: d, pools: p, reloader: r}
	e := &endpoint{
		d: d, pools: p, locks: l,
		server: server.New(m.table(), d.log.Named("rpc")),
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e
}

func (e *endpoint) start() error {
	e.d.started = time.Now()
	listener, err := e.listen()
	if err != nil {
		return err
	}
	e.keepStatus()
	e.d.book.crashes()
	e.d.log.Info("listening", zap.String("socket", e.d.at.socket))
	if e.d.flags.Socket != "" {
		e.d.log.Info("clients find this socket only with RUNTIMED_SOCKET=" + e.d.at.socket)
	}
	e.serve(listener)
	e.d.notify.ready()
	e.work.Go(func() { e.guard(listener) })
	e.work.Go(func() { e.d.notify.follow(e.ctx, e.pools) })
	if e.d.by.by == rpc.StartedByCommand {
		e.work.Go(e.endWhenIdle)
	}
	if e.d.by.watchdog > 0 {
		e.work.Go(e.feed)
	}
	return nil
}

// listen opens the socket, and remembers which file it is. One that a service manager opened is open.
func (e *endpoint) listen() (net.Listener, error) {
	if e.d.passed != nil {
		info, err := os.Lstat(e.d.at.socket)
		if err != nil || info.Mode().Type() != fs.ModeSocket {
			return e.d.passed, nil // guard has it made again
		}
		if info.Mode().Perm()&0o077 != 0 {
			err = os.Chmod(e.d.at.socket, 0o600)
			e.d.log.Warn("the service manager has opened the socket to others; it is closed to them now",
				zap.Stringer("mode_was", info.Mode().Perm()), zap.Error(err))
		}
		e.bound = info
		return e.d.passed, err
	}
	if err := os.MkdirAll(e.d.at.folder, 0o700); err != nil {
		return nil, fmt.Errorf("opening socket: %w", err)
	}
	listener, err := rpc.Listen(e.d.at.socket)
	if err != nil {
		return nil, err
	}
	if !socketIsFile {
		return listener, nil
	}
	bound, err := os.Lstat(e.d.at.socket)
	if err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("looking at the socket: %w", err)
	}
	e.bound = bound
	return listener, nil
}

// lost says whether path is another file than ours, or none.
func lost(path string, ours fs.FileInfo) bool {
	now, err := os.Lstat(path)
	return err != nil || ours == nil || !os.SameFile(now, ours)
}

// noticed is a listener that remembers when somebody last connected.
type noticed struct {
	net.Listener
	e *endpoint
}

func (n noticed) Accept() (net.Conn, error) {
	nc, err := n.Listener.Accept()
	if err == nil {
		now := time.Now()
		n.e.called.Store(&now)
	}
	return nc, err
}

func (e *endpoint) serve(listener net.Listener) {
	e.work.Go(func() {
		// guard closes one that nobody can reach
		if err := e.server.Serve(noticed{listener, e}); err != nil && !errors.Is(err, net.ErrClosed) {
			e.d.log.Error("the socket cannot be served any more", zap.Error(err))
			e.d.end(exitCrash)
		}
	})
}

// guard puts back what somebody deletes under a running daemon: nobody could reach it without its socket, and a second
// one could start without its lock file. Connections that are open stay.
func (e *endpoint) guard(listener net.Listener) {
	tick := time.NewTicker(guardTime)
	defer tick.Stop()
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-tick.C:
		}
		switch gone := socketIsFile && lost(e.d.at.socket, e.bound); {
		case gone && e.d.passed != nil:
			e.remake()
		case gone:
			again, err := e.listen()
			if err != nil {
				e.d.log.Error("the socket is gone, and cannot be opened again", zap.Error(err))
				e.d.end(exitCrash)
				return
			}
			e.d.log.Warn("the socket was removed by somebody; it is opened again", zap.String("socket", e.d.at.socket))
			e.serve(again)
			_ = listener.Close()
			listener = again
		}
		e.locks.restore(e.d.log)
		e.d.book.restore()
		if _, err := os.Lstat(e.d.at.statusFile()); errors.Is(err, fs.ErrNotExist) {
			e.keepStatus()
		}
	}
}

// remake has the service manager make the file of its socket again, which restarts us.
func (e *endpoint) remake() {
	asked, err := e.d.passed.remake(e.ctx)
	switch {
	case !asked || e.ctx.Err() != nil:
	case err != nil:
		e.d.log.Error("the socket was removed by somebody, and the service manager does not make it again",
			zap.String("socket", e.d.at.socket),
			zap.String("try", "systemctl --user restart "+e.d.passed.unit), zap.Error(err))
	default:
		e.d.log.Warn("the socket was removed by somebody; the service manager makes it again",
			zap.String("socket", e.d.at.socket))
	}
}

// stop answers who waits, finishes what is being answered, and takes the socket away, unless it is a service manager's.
func (e *endpoint) stop(ctx context.Context) error {
	e.cancel()
	if e.d.passed != nil {
		// who connects from here on waits for the next daemon, and is not taken in to be sent away
		_ = e.d.passed.Close()
		if last := e.called.Load(); last != nil {
			time.Sleep(time.Until(last.Add(askedTime))) // who came just before gets to ask, and an answer
		}
	}
	e.pools.Close() // waiters get shutting_down, so that their calls end
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	err := e.server.Shutdown(ctx)
	e.work.Wait()
	ours := map[string]fs.FileInfo{e.d.at.statusFile(): e.status}
	if e.d.passed == nil && socketIsFile {
		ours[e.d.at.socket] = e.bound
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
