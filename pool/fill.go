package pool

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/proc"
	"runtimed/pool/builder"
)

const (
	refillPause = time.Second // a refill keeps away for this long from the kernel that starts in what was just handed out

	renewAgain = 5 * time.Minute // the same after one could not be renewed

	derivedSlot = " for needs"     // ends the slot of builds for needs that somebody waits for
	needsAtOnce = 4                // such builds at once, or build.parallel where that is more
	needsYoung  = 10 * time.Second // one that takes longer keeps no other waiting
	needsAtMost = 32               // even so
)

// loop fills the pools: it reads the disk, then decides anew whenever something happened or is due.
func (m *Manager) loop() {
	m.open()
	for {
		next := m.step()
		if m.beat != nil {
			m.beat()
			next = earlier(next, time.Now().Add(m.heartbeat))
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-m.ctx.Done():
			timer.Stop()
			return
		case <-m.kick:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// step decides what each pool needs, starts the builds whose turn it is, and returns when it wants to look again at the latest.
func (m *Manager) step() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	next := now.Add(time.Minute)
	if m.closed {
		return next
	}
	for _, e := range m.envs {
		if e.state == Ready && m.pools[e.pool] == nil {
			m.move(e, Removing, "its pool is no longer configured")
		}
	}
	for _, pc := range m.cfg.Pools {
		next = earlier(next, m.plan(m.pools[pc.Name], now))
	}
	m.makeRoom()
	for _, p := range m.derivedPools() {
		next = earlier(next, m.planDerived(p, now))
	}
	next = earlier(next, m.startBuilds(now))
	m.renewSoon(now)
	return next
}

// renewSoon has the lock files of the pools looked at now and then, one pool at a time and not beside a build. Callers hold mu.
func (m *Manager) renewSoon(now time.Time) {
	if m.renewing || m.cfg.LockAge <= 0 {
		return
	}
	for _, e := range m.envs {
		if e.state == Warming {
			return
		}
	}
	every := min(builder.RenewEvery, m.cfg.LockAge)
	for _, pc := range m.cfg.Pools {
		p := m.pools[pc.Name]
		if pc.Size == 0 || p.fail != nil || now.Sub(p.renewed) < every {
			continue
		}
		b, ok := m.builders[pc.Spec.Kind]
		if !ok {
			continue
		}
		p.renewed, m.renewing = now, true
		age, timeout, told := m.cfg.LockAge, m.cfg.BuildTimeout, p.unrenewed
		m.work.Go(func() {
			ctx, cancel := context.WithTimeout(m.ctx, timeout)
			defer cancel()
			err := b.Renew(ctx, pc.Spec, age)
			if err != nil && m.ctx.Err() == nil {
				log := m.log.Info
				if told {
					log = m.log.Debug
				}
				log("the lock file of a pool could not be renewed; the old one serves on", zap.String("pool", pc.Name), zap.Error(err))
			}
			proc.EndMarked(func(dir string) bool { return dir == m.store.Tools() }) // what left its process group
			m.mu.Lock()
			m.renewing = false
			if p.unrenewed = err != nil; p.unrenewed { // when the network is there again, it is to be seen soon
				p.renewed = p.renewed.Add(min(renewAgain, every) - every)
			}
			m.mu.Unlock()
			m.lookSoon()
		})
		return
	}
}

// earlier is the earlier of a and b; a zero one is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// plan brings one pool closer to its target and returns when time alone will change its mind. Callers hold mu.
func (m *Manager) plan(p *pool, now time.Time) (next time.Time) {
	var ready, idle []*env // idle: builds that have not begun
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
		case e.state == Warming && !e.stuck:
			warming++
			if !e.started {
				idle = append(idle, e)
			}
		}
	}
	if len(p.waiters) == 0 {
		slices.SortFunc(ready, func(a, b *env) int {
			return cmp.Or(cmpBool(a.hash != p.hash, b.hash != p.hash), cmpBool(p.due(a, now), p.due(b, now)), byAge(a, b))
		})
		for _, e := range ready[:max(0, len(ready)-p.size())] {
			if !p.due(e, now) {
				fresh--
			}
			m.move(e, Removing, "more than the pool needs")
		}
	}
	slices.SortFunc(idle, byTurn)
	want := p.size() + len(p.waiters) - fresh - warming
	for ; want < 0 && len(idle) > 0; want++ {
		m.drop(idle[len(idle)-1], "no longer needed")
		idle = idle[:len(idle)-1]
	}
	if p.fail != nil {
		if want > 0 && now.Before(p.fail.next) {
			return earlier(p.fail.next, next)
		}
		want = min(want, 1-warming) // one try is enough to find out
	}
	for range max(0, want) {
		m.queue(p, now)
	}
	return next
}

// due says whether a ready environment wants to be replaced: too old, or of an earlier configuration.
func (p *pool) due(e *env, now time.Time) bool {
	return e.hash != p.hash || p.cfg.MaxAge > 0 && e.manifest.Age(now) >= p.cfg.MaxAge
}

// queue puts a new build in line. Callers hold mu.
func (m *Manager) queue(p *pool, now time.Time) {
	e := &env{
		pool: p.cfg.Name, spec: p.cfg.Spec, hash: p.hash, state: Warming, since: now, notBefore: m.lastGet.Add(refillPause),
		stage: builder.Stage{Name: builder.StageQueued, Message: "waiting for a build to begin"},
	}
	for e.id == "" || m.envs[e.id] != nil || m.store.Known(e.id) {
		var b [4]byte
		_, _ = rand.Read(b[:]) // never fails
		e.id = homeOf(p.cfg.Name) + "-" + hex.EncodeToString(b[:])
	}
	e.dir = m.store.Env(e.id)
	if p.derived() {
		e.needs = &p.needs
	}
	m.envs[e.id] = e
	m.changed()
}

// startBuilds starts what may run: builds that somebody waits for first, then in the order in which they were queued. It returns
// when time alone makes room for another. Callers hold mu.
func (m *Manager) startBuilds(now time.Time) (next time.Time) {
	running := map[string]int{} // by slot: a conda build neither waits for the uv ones nor keeps one of them waiting
	patient := map[string]int{} // builds for needs that those who wait have already, by pool
	old := 0                    // builds for needs that others no longer queue behind
	var idle []*env
	for _, e := range m.envs {
		switch {
		case e.state != Warming:
			continue
		case !e.started:
			idle = append(idle, e)
			continue
		}
		running[e.slot]++
		if e.urgent() {
			patient[e.pool]++
			if ages := e.began.Add(needsYoung); now.Before(ages) {
				next = earlier(next, ages)
			} else {
				old++
			}
		}
	}
	wanted := func(e *env) bool {
		p := m.pools[e.pool]
		return p != nil && len(p.waiters) > 0
	}
	slices.SortFunc(idle, func(a, b *env) int { return cmp.Or(cmpBool(wanted(a), wanted(b)), byTurn(a, b)) })
	for _, e := range idle {
		slot, most, waited := e.spec.Kind, m.parallel(e.spec.Kind), wanted(e)
		if waited && e.needs != nil && !e.recheck {
			if waited = patient[e.pool] < len(m.pools[e.pool].waiters); waited { // else it is one to keep ready
				slot, most = slot+derivedSlot, min(max(needsAtOnce, most)+old, needsAtMost)
			}
		}
		switch {
		case (e.stuck || !waited) && now.Before(e.notBefore):
			next = earlier(next, e.notBefore)
		case running[slot] >= most:
			if waited {
				m.makeWay(slot)
			}
		default:
			running[slot]++
			var ctx context.Context
			ctx, e.cancel = context.WithTimeout(m.ctx, m.cfg.BuildTimeout)
			m.turn++
			e.started, e.began, e.turn, e.slot = true, now, m.turn, slot
			if e.urgent() {
				patient[e.pool]++
				next = earlier(next, now.Add(needsYoung))
			}
			m.work.Go(func() { m.build(ctx, e) })
		}
	}
	return next
}

// makeWay ends a build in the slot that only keeps something ready for whoever may ask for the same needs again. Callers hold mu.
func (m *Manager) makeWay(slot string) {
	var found *env
	for _, e := range m.envs {
		p := m.pools[e.pool]
		switch {
		case e.state != Warming || e.slot != slot:
		case e.dropped:
			return // it is about to make way
		case e.started && e.needs != nil && !e.recheck && (p == nil || len(p.waiters) == 0):
			found = e
		}
	}
	if found != nil {
		m.drop(found, "somebody waits for another")
	}
}

// parallel is how many builds of a kind may run at once. Conda's share a package cache.
func (m *Manager) parallel(kind string) int {
	if kind == builder.KindConda {
		return 1
	}
	return max(1, m.cfg.Parallel)
}

// byTurn puts first what begins first: environments that only need a look, then in the order in which they were queued.
func byTurn(a, b *env) int {
	return cmp.Or(cmpBool(a.recheck, b.recheck), a.since.Compare(b.since), cmp.Compare(a.id, b.id))
}
