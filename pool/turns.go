package pool

import (
	"cmp"
	"context"
	"slices"
	"time"

	"runtimed/internal/tool"
	"runtimed/pool/builder"
)

const (
	derivedSlot   = " derived"       // ends the slot of urgent builds
	derivedAtOnce = 4                // urgent builds at once, or build.parallel where that is more
	derivedYoung  = 10 * time.Second // an urgent build that takes longer makes room for another
	derivedAtMost = 32               // even then
)

// startBuildsLocked starts the builds whose turn it is: those that somebody waits for, then in the order in which they
// were queued. It returns when time alone makes room for another.
func (m *Manager) startBuildsLocked(now time.Time) (next time.Time) {
	running := map[string]int{} // by slot: builds of uv and conda do not wait for each other
	served := map[string]int{}  // urgent builds, by pool
	old := 0                    // urgent builds that are no longer young
	var idle []*env
	for _, e := range m.envs {
		switch {
		case e.build == nil:
			continue
		case !e.build.running():
			idle = append(idle, e)
			continue
		}
		running[e.build.slot]++
		if e.build.urgent() {
			served[e.pool]++
			if ages := e.build.started.Add(derivedYoung); now.Before(ages) {
				next = earlier(next, ages)
			} else {
				old++
			}
		}
	}
	slices.SortFunc(idle, func(a, b *env) int {
		return cmp.Or(trueFirst(m.wantedLocked(a), m.wantedLocked(b)), byTurn(a, b))
	})
	for _, e := range idle {
		b, slot, most, wanted := e.build, e.spec.Kind, m.parallelLocked(e.spec.Kind), m.wantedLocked(e)
		if wanted && e.needs != nil && !b.check {
			if wanted = served[e.pool] < len(m.pools[e.pool].waiters); wanted { // else it is to be kept ready
				slot, most = slot+derivedSlot, min(max(derivedAtOnce, most)+old, derivedAtMost)
			}
		}
		switch {
		case (b.stuck || !wanted) && now.Before(b.notBefore):
			next = earlier(next, b.notBefore)
		case running[slot] >= most:
			if wanted {
				m.makeWayLocked(slot)
			}
		default:
			running[slot]++
			var ctx context.Context
			ctx, b.cancel = context.WithTimeout(m.ctx, m.cfg.BuildTimeout)
			if wanted {
				ctx = tool.Urgently(ctx)
			}
			m.turn++
			b.started, b.turn, b.slot = now, m.turn, slot
			b.keep = m.keepsLocked(m.pools[e.pool], now)
			if b.urgent() {
				served[e.pool]++
				next = earlier(next, now.Add(derivedYoung))
			}
			m.work.Go(func() { m.runBuild(ctx, e, b) })
		}
	}
	return next
}

func (m *Manager) wantedLocked(e *env) bool {
	p := m.pools[e.pool]
	return p != nil && len(p.waiters) > 0
}

func (m *Manager) makeWayLocked(slot string) {
	var found *env
	for _, e := range m.envs {
		switch b := e.build; {
		case b == nil || b.slot != slot:
		case b.canceled:
			return // it is about to make way
		case b.running() && e.needs != nil && !b.check && !m.wantedLocked(e):
			found = e
		}
	}
	if found != nil {
		m.cancelBuildLocked(found, "somebody waits for another")
	}
}

// parallelLocked is how many builds of a kind may run at once. Conda's share a package cache.
func (m *Manager) parallelLocked(kind string) int {
	if kind == builder.KindConda {
		return 1
	}
	return max(1, m.cfg.Parallel)
}
