package pool

import (
	"cmp"
	"slices"
	"time"

	"go.uber.org/zap"

	"runtimed/pool/envdir"
)

// serveLocked leases what is ready to whoever has waited longest. update then calls grant. p may be nil.
func (m *Manager) serveLocked(p *pool) {
	for p != nil && len(p.waiters) > 0 {
		w := p.waiters[0]
		e := m.pickLocked(p, w.Standby, w.tried...)
		if e == nil || !m.enterLocked() {
			return
		}
		p.waiters = p.waiters[1:]
		if !e.finished.After(w.since) {
			m.lastGrant = time.Now()
		}
		m.moveLocked(e, Leased, "acquired")
		e.tenancy.waiter, p.claimed = w, true
		m.handOutLocked(p, e, w)
		m.effects.grants = append(m.effects.grants, e)
	}
}

// pickLocked is the environment that goes next: of the present configuration if there is one, with a standby for those
// who use it and without one for the others, and the oldest.
func (m *Manager) pickLocked(p *pool, standby bool, but ...*env) *env {
	var best *env
	for _, e := range m.envs {
		if e.pool != p.cfg.Name || !p.serves(e) || slices.Contains(but, e) {
			continue
		}
		if best == nil || cmp.Or(trueFirst(e.hash == p.hash, best.hash == p.hash),
			cmp.Compare(e.standby.rank(p, standby), best.standby.rank(p, standby)), byAge(e, best)) < 0 {
			best = e
		}
	}
	return best
}

func byAge(a, b *env) int {
	return cmp.Or(a.manifest.CreatedAt.Compare(b.manifest.CreatedAt), cmp.Compare(a.id, b.id))
}

func trueFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// grant checks an environment that serveLocked chose, writes its lease and answers the waiter. A damaged one is
// replaced.
func (m *Manager) grant(e *env) {
	defer m.work.Done()
	e.record.Lock()
	w := e.tenancy.waiter
	lease := w.lease()
	err := m.store.Intact(e.dir, &e.manifest, e.seen)
	if err == nil {
		err = m.writeLease(e, envdir.LeaseRecord{State: envdir.LeaseHeld, Lease: lease})
	}
	unwanted := false
	m.update(func() {
		defer e.record.Unlock() // before update grants anything
		e.tenancy.waiter = nil
		m.leaseFault = m.leaseFault && err != nil
		p := m.pools[e.pool]
		switch {
		case envdir.MachineFault(err):
			m.retainLocked(p, e, w, err)
		case err != nil:
			e.log.Warn("environment is damaged and will be replaced", zap.Error(err))
			m.moveLocked(e, Removing, "damaged: "+err.Error())
			if m.requeueLocked(p, e, w) {
				m.serveLocked(p)
				m.failHopelessLocked(p)
			}
		case len(w.calls) == 0:
			unwanted = true
		default:
			m.holdLocked(e, lease, len(w.calls))
			m.syncSoonLocked(e.dir)
			w.answer(e.grantedLocked(p, w), nil)
		}
	})
	if unwanted {
		m.reclaim(e, func() *envdir.Lease { return lease })
	}
}

// acquiredLocked is the answer to a call that began then; p is the pool of e, or nil.
func (e *env) acquiredLocked(p *pool, began time.Time) Acquired {
	return Acquired{Env: e.infoLocked(), Stale: p != nil && e.hash != p.hash, Waited: time.Since(began)}
}

func (e *env) grantedLocked(p *pool, w *waiter) Acquired {
	got := e.acquiredLocked(p, w.since)
	got.Standby = e.standbyOfLocked()
	switch {
	case !e.finished.After(w.since):
	case e.added == nil:
		got.Built = true
	default:
		got.Extended, got.Added, got.AddedIn = true, e.added.packages, e.added.took
	}
	return got
}

// retainLocked makes an environment ready again whose lease could not be written though nothing is wrong with it. w
// gets another one, or the error: a new one would not help.
func (m *Manager) retainLocked(p *pool, e *env, w *waiter, err error) {
	if !m.leaseFault {
		e.log.Error("environments cannot be leased at the moment; they are kept", zap.Error(err))
	}
	m.leaseFault = true
	m.moveLocked(e, Ready, "its lease could not be written: "+err.Error())
	if !m.requeueLocked(p, e, w) {
		return
	}
	w.tried = append(w.tried, e)
	m.serveLocked(p)
	if at := slices.Index(p.waiters, w); at >= 0 {
		p.waiters = slices.Delete(p.waiters, at, at+1)
		w.answer(Acquired{}, unwritten(e.id, e.pool, err))
		m.serveLocked(p)
	}
}

// Undelivered reclaims an environment whose reply provably never reached the caller, unless another reply may have told
// of the same lease.
func (m *Manager) Undelivered(id string) {
	var e *env
	if m.enter(func() { e = m.envs[id] }) != nil {
		return
	}
	defer m.work.Done()
	if e == nil {
		return
	}
	m.reclaim(e, func() *envdir.Lease {
		lease := e.tenancy.lease
		if lease == nil {
			return nil
		}
		if e.tenancy.replies--; e.tenancy.replies > 0 {
			return nil
		}
		e.tenancy.lease = nil // now its key no longer finds it
		return lease
	})
}

// reclaim makes an environment ready again whose lease nobody has heard of, if takeLocked returns that. If that
// cannot be written, it stays leased, for whoever asks again with the same key.
func (m *Manager) reclaim(e *env, takeLocked func() *envdir.Lease) {
	defer endOnPanic() // else the record would stay locked
	e.record.Lock()
	var lease *envdir.Lease
	var err error
	if m.view(func() { lease = takeLocked() }); lease != nil {
		err = m.writeLease(e, envdir.LeaseRecord{State: envdir.LeaseFree})
	}
	m.update(func() {
		defer e.record.Unlock() // before update grants e again
		switch {
		case lease == nil:
		case envdir.MachineFault(err):
			e.log.Warn("environment cannot be taken back at the moment; it stays leased", zap.Error(err))
			m.holdLocked(e, lease, 1)
			m.changedLocked()
		case err != nil:
			e.log.Warn("environment cannot be taken back and will be replaced", zap.Error(err))
			m.moveLocked(e, Removing, err.Error())
		default:
			m.moveLocked(e, Ready, "its reply was never sent")
			m.serveLocked(m.pools[e.pool])
		}
	})
}
