package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"go.uber.org/zap"

	"runtimed/rpc"
)

// idleLook is how often a daemon that ends when idle looks whether it is, at least.
const idleLook = 10 * time.Second

// endWhenIdle ends a daemon that a command started by itself once nobody has needed it for a while.
func (e *endpoint) endWhenIdle() {
	needed := time.Now()
	for {
		idle := e.d.cfg.Load().IdleExit
		select {
		case <-e.ctx.Done():
			return
		case <-time.After(min(idleLook, max(idle/4, time.Millisecond))):
		}
		if last := e.called.Load(); last != nil && last.After(needed) {
			needed = *last
		}
		leased, err := e.pools.Leased(context.Background())
		if err != nil || leased > 0 || e.server.Connections() > 0 || idle == 0 {
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

// feed feeds the service manager's watchdog each time the pools' loop has shown that it runs, if the socket answers
// too.
func (e *endpoint) feed() {
	silent := false
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-e.d.pulse:
		}
		err := e.answers()
		if e.ctx.Err() != nil {
			return
		}
		if err == nil {
			e.d.notify.alive()
		} else if !silent {
			e.d.log.Warn("the socket does not answer, so the watchdog is not fed", zap.Error(err))
		}
		silent = err != nil
	}
}

// answers asks the daemon as a client would. It fails where no answer of any kind comes; a file that is gone is guard's
// to mend.
func (e *endpoint) answers() error {
	ctx, cancel := context.WithTimeout(e.ctx, e.d.by.watchdog/feeds)
	defer cancel()
	c, err := rpc.Dial(ctx, e.d.at.socket, rpc.ClientOptions{})
	if err == nil {
		defer c.Close()
		err = c.Call(ctx, rpc.MethodPing, nil, nil)
	}
	_, gone := os.Lstat(e.d.at.socket)
	if kind := rpc.KindOf(err); errors.Is(gone, fs.ErrNotExist) || kind != rpc.KindUnreachable &&
		kind != rpc.KindTimeout && ctx.Err() == nil {
		return nil
	}
	return err
}
