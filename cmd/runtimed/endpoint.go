package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"

	"github.com/google/renameio/v2"
	"go.uber.org/zap"

	"runtimed/pool"
	"runtimed/rpc"
)

// endpoint is the socket, daemon.json, and the server behind them.
type endpoint struct {
	d      *daemon
	pools  *pools
	locks  *locks
	server *rpc.Server
	done   chan struct{} // closed at stop
	work   sync.WaitGroup

	// start and guard write these, one after the other, and stop reads them when guard has ended
	bound  fs.FileInfo // the socket that is ours; nothing else at its path is ever removed
	status fs.FileInfo // the daemon.json that is ours

	noStatus bool // daemon.json cannot be written, and that was said
}

// guardTime is how long the socket, daemon.json or the lock file may be missing after somebody deleted them.
const guardTime = 2 * time.Second

func newEndpoint(d *daemon, l *locks, p *pools, r *reloader) *endpoint {
	m := &methods{d: d, pools: p, reloader: r}
	return &endpoint{
		d: d, pools: p, locks: l, done: make(chan struct{}),
		server: rpc.NewServer(m.table(), rpc.Options{Log: d.log.Named("rpc"), UID: os.Getuid(), Version: rpc.Version()}),
	}
}

func (e *endpoint) start() error {
	e.d.started = time.Now()
	listener, err := e.listen()
	if err != nil {
		return err
	}
	e.keepStatus()
	crashesTo(e.d.at.log())
	cfg := e.d.cfg.Load()
	e.d.log.Info("listening", zap.String("socket", e.d.at.socket), zap.String("state", e.pools.Dir()), zap.Int("pid", os.Getpid()),
		zap.String("version", rpc.Version()), zap.String("config", cfg.Path))
	if e.d.flags.Socket != "" {
		e.d.log.Info("clients find this socket only with RUNTIMED_SOCKET=" + e.d.at.socket)
	}
	e.serve(listener)
	e.work.Go(func() { e.guard(listener) })
	if e.d.auto {
		e.work.Go(e.endWhenIdle)
	}
	return nil
}

// listen opens the socket, and remembers which file it is.
func (e *endpoint) listen() (net.Listener, error) {
	if err := os.MkdirAll(e.d.at.folder, 0o700); err != nil {
		return nil, fmt.Errorf("opening socket: %w", err)
	}
	listener, err := rpc.Listen(e.d.at.socket)
	if err != nil {
		return nil, err
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

func (e *endpoint) serve(listener net.Listener) {
	e.work.Go(func() {
		if err := e.server.Serve(listener); err != nil && !errors.Is(err, net.ErrClosed) { // guard closes one that nobody can reach
			e.d.log.Error("the socket cannot be served any more", zap.Error(err))
			e.d.end(exitCrash)
		}
	})
}

// guard puts back what somebody deletes under a running daemon: nobody could reach it without its socket, and a second one could
// start without its lock file. Connections that are open stay.
func (e *endpoint) guard(listener net.Listener) {
	tick := time.NewTicker(guardTime)
	defer tick.Stop()
	for {
		select {
		case <-e.done:
			return
		case <-tick.C:
		}
		if lost(e.d.at.socket, e.bound) {
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
		if _, err := os.Lstat(e.d.at.statusFile()); errors.Is(err, fs.ErrNotExist) {
			e.keepStatus()
		}
	}
}

// stop answers who waits, finishes what is being answered, and takes the socket away.
func (e *endpoint) stop(ctx context.Context) error {
	close(e.done)
	e.pools.Close() // waiters get shutting_down, so that their calls end
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	err := e.server.Shutdown(ctx)
	e.work.Wait()
	for path, ours := range map[string]fs.FileInfo{e.d.at.socket: e.bound, e.d.at.statusFile(): e.status} {
		if lost(path, ours) {
			continue // somebody else's by now
		}
		if rerr := os.Remove(path); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	return err
}

// keepStatus is writeStatus for who goes on without it, as on a full disk. It says so once.
func (e *endpoint) keepStatus() {
	err := e.writeStatus()
	if err != nil && !e.noStatus {
		e.d.log.Warn("going on without daemon.json", zap.Error(err))
	}
	e.noStatus = err != nil
}

// writeStatus writes daemon.json. It is for people and for messages; whether a daemon lives, only its socket tells.
func (e *endpoint) writeStatus() error {
	data, err := json.MarshalIndent(map[string]any{
		"endpoint": e.d.at.socket, "pid": os.Getpid(), "version": rpc.Version(), "protocol": rpc.Protocol, "started_at": e.d.started.UTC(),
	}, "", "  ")
	if err != nil {
		return err
	}
	path := e.d.at.statusFile()
	if info, err := os.Lstat(path); err == nil && info.IsDir() {
		e.d.log.Warn("a folder is where daemon.json belongs; going on without it", zap.String("path", path))
		return nil
	}
	if err := renameio.WriteFile(path, append(data, '\n'), 0o600, renameio.WithTempDir(e.d.at.folder)); err != nil {
		return fmt.Errorf("writing daemon.json: %w", err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("looking at daemon.json: %w", err)
	}
	e.status = info
	return nil
}

// endWhenIdle ends a daemon that a command started by itself once nobody has needed it for a while.
func (e *endpoint) endWhenIdle() {
	needed := time.Now()
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-e.done:
			return
		case <-tick.C:
		}
		idle := e.d.cfg.Load().IdleExit
		leased, err := e.pools.List(context.Background(), "", pool.Leased)
		if err != nil || len(leased) > 0 || e.server.Connections() > 0 || idle == 0 {
			needed = time.Now()
			continue
		}
		if time.Since(needed) > idle {
			e.d.log.Info("not needed any more", zap.Duration("idle_for", idle))
			e.d.end(exitStopped)
			return
		}
	}
}
