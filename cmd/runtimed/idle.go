package main

import (
	"context"
	"time"

	"go.uber.org/fx"
	"go.uber.org/zap"
)

// idleInterval is the longest time between two looks.
const idleInterval = 10 * time.Second

// endWhenIdle ends a daemon that is started when somebody needs it, once nobody has needed it for idle_exit. What it
// makes comes first: on a slow or busy machine a build takes longer than that, and would begin again at each start.
func endWhenIdle(lc fx.Lifecycle, a about, s *settings, e *endpoint) {
	if !a.onDemand {
		return
	}
	background(lc, func(ctx context.Context) {
		needed := time.Now()
		for {
			idle := s.Load().IdleExit
			select {
			case <-ctx.Done():
				return
			case <-time.After(min(idleInterval, max(idle/4, time.Millisecond))):
			}
			if last := e.pools.lastCall.Load(); last != nil && last.After(needed) {
				needed = *last
			}
			leased, err := e.pools.Leased(context.Background())
			if err != nil || leased > 0 || e.server.Connections() > 0 || idle == 0 || e.pools.filling() {
				needed = time.Now()
				continue
			}
			if time.Since(needed) > idle {
				e.log.Info("not needed any more", zap.Duration("idle_for", idle))
				e.exit.end(exitStopped)
				return
			}
		}
	})
}
