package pool

import (
	"cmp"
	"slices"
	"time"

	"go.uber.org/zap"

	"runtimed/pool/envdir"
)

// syncDelay is how long a lease record may be lost to a power failure, which would end its owner too.
const syncDelay = 100 * time.Millisecond

// serve gives what is ready to those who wait longest, and returns what the caller passes to hand, once each and without mu. Callers
// hold mu.
func (m *Manager) serve(p *pool) []*env {
	var handing []*env
	for len(p.waiters) > 0 {
		w := p.waiters[0]
		e := m.pick(p, w.tried...)
		if e == nil || !m.enter() {
			break
		}
		p.waiters = p.waiters[1:]
		e.built = e.finished.After(w.since)
		if !e.built {
			m.lastGet = time.Now()
		}
		m.move(e, Leased, "acquired")
		e.granting = w
		handing = append(handing, e)
	}
	return handing
}

// pick is the environment that goes next: of the present configuration before an earlier one, the oldest first, and none but these.
func (m *Manager) pick(p *pool, but ...*env) *env {
	var best *env
	for _, e := range m.envs {
		if e.pool != p.cfg.Name || !p.fits(e) || slices.Contains(but, e) {
			continue
		}
		if best == nil || cmp.Or(cmpBool(e.hash == p.hash, best.hash == p.hash), byAge(e, best)) < 0 {
			best = e
		}
	}
	return best
}

func byAge(a, b *env) int {
	return cmp.Or(a.manifest.CreatedAt.Compare(b.manifest.CreatedAt), cmp.Compare(a.id, b.id))
}

// cmpBool puts true first.
func cmpBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// handAll hands out what serve returned. Callers do not hold mu.
func (m *Manager) grantAll(handing []*env) {
	for _, e := range handing {
		m.grant(e)
	}
}

// hand checks an environment that serve chose, puts its lease on disk and answers the waiter; a damaged one is replaced by the
// next. Callers do not hold mu.
func (m *Manager) grant(e *env) {
	defer m.work.Done() // serve has counted it
	e.record.Lock()
	w := e.granting
	lease := w.lease()
	err := m.store.Intact(e.dir, &e.manifest, e.seen)
	if err == nil {
		err = m.writeLease(e, envdir.LeaseRecord{State: envdir.LeaseHeld, Lease: lease})
	}
	m.mu.Lock()
	e.granting = nil
	p := m.pools[e.pool]
	var next []*env
	m.troubled = m.troubled && err != nil
	switch {
	case envdir.MachineFault(err):
		next = m.keep(p, e, w, err)
	case err != nil:
		m.log.Warn("environment is damaged and will be replaced", zap.String("env", e.id), zap.Error(err))
		m.move(e, Removing, "damaged: "+err.Error())
		if m.requeue(p, e, w) {
			next = m.serve(p)
			m.failHopeless(p)
		}
		m.lookSoon()
	case len(w.calls) == 0:
		m.mu.Unlock()
		m.reclaim(e, lease)
		return
	default:
		e.lease, e.replies = lease, len(w.calls)
		m.watchOwner(e)
		m.syncSoon(e.dir)
		got := Acquired{Env: e.info(), Built: e.built, Stale: p != nil && e.hash != p.hash}
		if e.built && e.more != nil {
			got.Built, got.Extended, got.Added, got.AddedIn = false, true, e.more.packages, e.more.took
		}
		w.finish(got, nil)
	}
	m.mu.Unlock()
	e.record.Unlock()
	m.grantAll(next)
}

// keep makes an environment ready again that could not be handed to w though nothing is wrong with it. w gets another one, or is told
// why it gets none: no build would do better. Callers hold mu.
func (m *Manager) keep(p *pool, e *env, w *waiter, err error) (next []*env) {
	if !m.troubled {
		m.log.Error("environments cannot be handed out for now; they stay", zap.String("env", e.id), zap.Error(err))
	}
	m.troubled = true
	m.move(e, Ready, "it could not be handed out: "+err.Error())
	if m.requeue(p, e, w) {
		w.tried = append(w.tried, e)
		next = m.serve(p)
		if at := slices.Index(p.waiters, w); at >= 0 {
			p.waiters = slices.Delete(p.waiters, at, at+1)
			w.finish(Acquired{}, unwritten(e.id, e.pool, err))
			next = append(next, m.serve(p)...)
		}
	}
	m.lookSoon()
	return next
}

// requeue puts a waiter that could not be given e back where it was in line, and says whether it is there: nobody may want the answer
// any more, or nobody can give one. Callers hold mu.
func (m *Manager) requeue(p *pool, e *env, w *waiter) bool {
	switch {
	case len(w.calls) == 0:
		return false
	case m.closed:
		w.finish(Acquired{}, ErrClosed)
		return false
	case p == nil:
		w.finish(Acquired{}, m.unknown(homeOf(e.pool)))
		return false
	}
	p.back(w)
	return true
}

// Undelivered takes back an environment whose reply provably never reached the one who asked for it. Where another reply may
// have told of the same lease, it stands.
func (m *Manager) Undelivered(id string) {
	defer endOnPanic()
	m.mu.Lock()
	e, err := m.find(id)
	if err != nil || !m.enter() {
		m.mu.Unlock()
		return
	}
	m.mu.Unlock()
	defer m.work.Done()
	e.record.Lock()
	m.mu.Lock()
	last, lease := false, e.lease
	if e.lease != nil {
		e.replies--
		last = e.replies == 0
	}
	if last {
		e.lease = nil // from here on its key finds it no more
	}
	m.mu.Unlock()
	if !last {
		e.record.Unlock()
		return
	}
	m.reclaim(e, lease)
}

// putBack makes a leased environment ready again that nobody has heard of, or leaves it leased where that cannot be put on disk for
// now: who asks again with the same key gets it. Callers hold e.record, which it lets go, and not mu.
func (m *Manager) reclaim(e *env, lease *envdir.Lease) {
	err := m.writeLease(e, envdir.LeaseRecord{State: envdir.LeaseFree})
	m.mu.Lock()
	var next []*env
	switch {
	case envdir.MachineFault(err):
		m.log.Warn("environment cannot be taken back for now; it stays leased", zap.String("env", e.id), zap.Error(err))
		e.lease, e.replies = lease, 1
		m.watchOwner(e)
		m.changed()
	case err != nil:
		m.log.Warn("environment cannot be taken back and will be replaced", zap.String("env", e.id), zap.Error(err))
		m.move(e, Removing, err.Error())
	default:
		m.move(e, Ready, "its reply never left")
		if p := m.pools[e.pool]; p != nil {
			next = m.serve(p)
		}
	}
	m.lookSoon()
	m.mu.Unlock()
	e.record.Unlock()
	m.grantAll(next)
}

// syncSoon makes a lease record outlive a power loss, off the path of the reply; one thread does that for all. Callers hold mu.
func (m *Manager) syncSoon(dir string) {
	m.unsynced = append(m.unsynced, dir)
	if m.syncing || !m.enter() {
		return // Close leaves nothing behind but what a power loss in this moment could take
	}
	m.syncing = true
	go func() {
		defer m.work.Done()
		select { // a write to the same journal would wait for the sync, and the next acquire is such a write
		case <-time.After(syncDelay):
		case <-m.ctx.Done():
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		for len(m.unsynced) > 0 {
			dirs := m.unsynced
			m.unsynced = nil
			m.mu.Unlock()
			for _, d := range dirs {
				m.store.SyncLease(d)
			}
			m.mu.Lock()
		}
		m.syncing = false
	}()
}
