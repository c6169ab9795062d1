package main

import (
	"context"
	"time"

	"go.uber.org/fx"
	"go.uber.org/zap"

	"runtimed/rpc"
	"runtimed/rpc/server"
)

// idleInterval is the longest time between two looks.
const idleInterval = 10 * time.Second

// idleTimer ends a daemon that a command started once nobody has needed it for idle_exit.
type idleTimer struct {
	settings *settings
	endpoint *endpoint
	server   *server.Server
	pools    *pools
	exit     exit
	log      *zap.Logger
}

func newIdleTimer(lc fx.Lifecycle, a about, s *settings, e *endpoint, srv *server.Server, p *pools, exit exit,
	log *zap.Logger) *idleTimer {
	t := &idleTimer{s, e, srv, p, exit, log}
	if a.startedBy == rpc.StartedByCommand {
		background(lc, t.run)
	}
	return t
}

func (t *idleTimer) run(ctx context.Context) {
	needed := time.Now()
	for {
		idle := t.settings.Load().IdleExit
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(idleInterval, max(idle/4, time.Millisecond))):
		}
		if last := t.endpoint.lastCall.Load(); last != nil && last.After(needed) {
			needed = *last
		}
		leased, err := t.pools.Leased(context.Background())
		if err != nil || leased > 0 || t.server.Connections() > 0 || idle == 0 {
			needed = time.Now()
			continue
		}
		if time.Since(needed) > idle {
			t.log.Info("not needed any more", zap.Duration("idle_for", idle))
			t.exit.end(exitStopped)
			return
		}
	}
}
