package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"go.uber.org/fx"
	"go.uber.org/zap"

	"runtimed/internal/statedir"
	"runtimed/internal/supervisor"
	"runtimed/rpc"
)

// feeds is how often the watchdog is fed in its interval.
const feeds = 4

// watchdog feeds the service manager's watchdog while the pools' loop runs and the socket answers.
type watchdog struct {
	socket   string
	interval time.Duration
	beats    chan struct{} // of the pools' loop
	notifier *supervisor.Notifier
	log      *zap.Logger
}

func newWatchdog(lc fx.Lifecycle, sup *supervisor.Supervisor, at statedir.Paths, p *pools, n *supervisor.Notifier,
	log *zap.Logger, _ *endpoint) *watchdog {
	w := &watchdog{at.Socket, sup.Watchdog / feeds, make(chan struct{}, 1), n, log}
	if w.interval > 0 {
		p.Heartbeat(w.interval, func() {
			select {
			case w.beats <- struct{}{}:
			default: // the last beat is being handled
			}
		})
		background(lc, w.feed)
	}
	return w
}

func (w *watchdog) feed(ctx context.Context) {
	silent := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.beats:
		}
		err := w.ask(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			w.notifier.Alive()
		} else if !silent {
			w.log.Warn("the socket does not answer, so the watchdog is not fed", zap.Error(err))
		}
		silent = err != nil
	}
}

// ask calls the daemon as a client. Any answer will do, and the endpoint restores a lost socket.
func (w *watchdog) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.interval)
	defer cancel()
	c, err := rpc.Dial(ctx, w.socket, rpc.ClientOptions{})
	if err == nil {
		defer c.Close()
		err = c.Call(ctx, rpc.MethodPing, nil, nil)
	}
	_, gone := os.Lstat(w.socket)
	kind := rpc.KindOf(err)
	if errors.Is(gone, fs.ErrNotExist) || kind != rpc.KindUnreachable && kind != rpc.KindTimeout && ctx.Err() == nil {
		return nil
	}
	return err
}
