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

// feedWatchdog feeds the service manager's watchdog while the pools' loop runs and the socket answers.
func feedWatchdog(lc fx.Lifecycle, sup *supervisor.Supervisor, at statedir.Paths, p *pools, n *supervisor.Notifier,
	log *zap.Logger, _ *endpoint) {
	interval := sup.Watchdog / feeds
	if interval <= 0 {
		return
	}
	beats := make(chan struct{}, 1)
	p.Heartbeat(interval, func() {
		select {
		case beats <- struct{}{}:
		default: // the last beat is being handled
		}
	})
	background(lc, func(ctx context.Context) {
		silent := false
		for {
			select {
			case <-ctx.Done():
				return
			case <-beats:
			}
			err := ping(ctx, at.Socket, interval)
			switch {
			case ctx.Err() != nil:
				return
			case err == nil:
				n.Alive()
			case !silent:
				log.Warn("the socket does not answer, so the watchdog is not fed", zap.Error(err))
			}
			silent = err != nil
		}
	})
}

// ping calls the daemon as a client. Any answer will do, and the endpoint restores a lost socket.
func ping(ctx context.Context, socket string, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	c, err := rpc.Dial(ctx, socket, rpc.ClientOptions{})
	if err == nil {
		defer c.Close()
		err = c.Call(ctx, rpc.MethodPing, nil, nil)
	}
	_, gone := os.Lstat(socket)
	kind := rpc.KindOf(err)
	if errors.Is(gone, fs.ErrNotExist) || kind != rpc.KindUnreachable && kind != rpc.KindTimeout && ctx.Err() == nil {
		return nil
	}
	return err
}
