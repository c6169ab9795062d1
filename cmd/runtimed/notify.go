package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.uber.org/fx"

	"runtimed/internal/supervisor"
	"runtimed/pool"
)

// statusInterval is the shortest time between two lines.
const statusInterval = time.Second

// showStatus keeps current what a service manager shows of the pools.
func showStatus(lc fx.Lifecycle, sup *supervisor.Supervisor, p *pools, n *supervisor.Notifier, _ *endpoint) {
	if !sup.Listens {
		return
	}
	background(lc, func(ctx context.Context) {
		list, err := p.Watch(ctx, statusInterval, func(pool.Status, bool) bool {
			if now, err := p.Status(ctx, ""); err == nil { // of all pools
				n.Status(describePools(now))
			}
			return true
		})
		if err == nil {
			n.Status(describePools(list))
		}
	})
}

// describePools returns a line like "uv: 2 of 3 ready, 1 warming, 1 leased; conda: off".
func describePools(list []pool.Status) string {
	pools := make([]string, len(list))
	for i, s := range list {
		line := s.Name + ": off"
		if s.State != "off" {
			line = fmt.Sprintf("%s: %d of %d ready", s.Name, s.Available, s.Target)
		}
		for _, c := range []struct {
			n    int
			what string
		}{{s.Warming, "warming"}, {s.Leased, "leased"}, {s.Waiting, "waiting"}} {
			if c.n > 0 {
				line += fmt.Sprintf(", %d %s", c.n, c.what)
			}
		}
		if s.Error != nil {
			line += ", builds fail (" + s.Error.Cause + ")"
		}
		pools[i] = line
	}
	return strings.Join(pools, "; ")
}
