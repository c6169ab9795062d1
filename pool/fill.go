package pool

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"time"
)

const refillPause = time.Second // after a grant, for the kernel that starts then

func (m *Manager) fillLoop() {
	m.open()
	for {
		next := m.plan()
		if m.beat != nil {
			m.beat()
			next = earlier(next, time.Now().Add(m.heartbeat))
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-m.ctx.Done():
			timer.Stop()
			return
		case <-m.wakeFill:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// plan decides what each pool needs, starts builds, and returns when to plan again at the latest.
func (m *Manager) plan() (next time.Time) {
	now := time.Now()
	next = now.Add(time.Minute)
	short := m.short()
	m.update(func() {
		if m.closed {
			return
		}
		for _, e := range m.envs {
			if e.state == Ready && m.pools[e.pool] == nil {
				m.moveLocked(e, Removing, "its pool is no longer configured")
			}
		}
		for _, pc := range m.cfg.Pools {
			next = earlier(next, m.planLocked(m.pools[pc.Name], now))
		}
		m.limitDerivedLocked(now)
		for _, p := range m.derivedLocked() {
			next = earlier(next, m.planDerivedLocked(p, now))
		}
		next = earlier(next, m.saveMemoryLocked(short, now))
		for _, pc := range m.cfg.Pools { // first: in a ready environment one is there sooner than in one to be built
			next = earlier(next, m.planStandbysLocked(m.pools[pc.Name], now))
		}
		for _, p := range m.derivedLocked() {
			next = earlier(next, m.planStandbysLocked(p, now))
		}
		next = earlier(next, m.startBuildsLocked(now))
		next = earlier(next, m.endLateStandbysLocked(now))
		m.renewSoonLocked(now)
	})
	return next
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// planLocked brings one pool closer to its target and returns when time alone will change that.
func (m *Manager) planLocked(p *pool, now time.Time) (next time.Time) {
	var ready, idle []*env // idle: builds that wait for their turn
	fresh, warming := 0, 0
	for _, e := range m.envs {
		switch {
		case e.pool != p.cfg.Name:
		case e.state == Ready:
			ready = append(ready, e)
			if !p.due(e, now) {
				fresh++
				if p.cfg.MaxAge > 0 {
					next = earlier(next, now.Add(p.cfg.MaxAge-e.manifest.Age(now)))
				}
			}
		case e.build != nil && !e.build.stuck:
			warming++
			if !e.build.running() {
				idle = append(idle, e)
			}
		}
	}
	if len(p.waiters) == 0 {
		slices.SortFunc(ready, func(a, b *env) int {
			stale := trueFirst(a.hash != p.hash, b.hash != p.hash)
			return cmp.Or(stale, trueFirst(p.due(a, now), p.due(b, now)), byAge(a, b))
		})
		for _, e := range ready[:max(0, len(ready)-p.size())] {
			if !p.due(e, now) {
				fresh--
			}
			m.moveLocked(e, Removing, "more than the pool needs")
		}
	}
	slices.SortFunc(idle, byTurn)
	want := p.size() + len(p.waiters) - fresh - warming
	for ; want < 0 && len(idle) > 0; want++ {
		m.cancelBuildLocked(idle[len(idle)-1], "no longer needed")
		idle = idle[:len(idle)-1]
	}
	if p.fail != nil {
		if want > 0 && now.Before(p.fail.next) {
			return earlier(p.fail.next, next)
		}
		want = min(want, 1-warming) // one try is enough to find out
	}
	for range max(0, want) {
		m.queueLocked(p)
	}
	return next
}

func (m *Manager) queueLocked(p *pool) {
	id := ""
	for id == "" || m.envs[id] != nil || m.store.Known(id) {
		var b [4]byte
		_, _ = rand.Read(b[:]) // never fails
		id = baseOf(p.cfg.Name) + "-" + hex.EncodeToString(b[:])
	}
	e := m.newEnv(id, purpose{p.cfg.Name, p.cfg.Spec, p.hash, p.needs})
	m.moveLocked(e, Warming, "the pool needs it")
	e.build = &build{notBefore: m.lastGrant.Add(refillPause), stage: waiting("for a build to begin")}
	m.envs[id] = e
}

func byTurn(a, b *env) int {
	return cmp.Or(trueFirst(a.build.check, b.build.check), a.since.Compare(b.since), cmp.Compare(a.id, b.id))
}
