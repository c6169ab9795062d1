package pool

import (
	"cmp"
	"slices"
	"time"

	"runtimed/pool/builder"
)

const maxWaiters = 1024

// waiter is one place in line. Several calls share it where they have the same owner and key.
type waiter struct {
	Request
	turn     uint64 // who came first
	since    time.Time
	deadline time.Time            // of the most patient call
	calls    []chan builder.Stage // of those who want the answer; each holds a stage to report
	tried    []*env               // whose lease could not be written
	done     chan struct{}        // closed when got or err is set
	got      Acquired
	err      error
}

func (w *waiter) same(r Request) bool { return r.Key != "" && w.Key == r.Key && w.Owner.Is(r.Owner) }

func (w *waiter) answer(got Acquired, err error) {
	w.got, w.err = got, err
	close(w.done)
}

func (w *waiter) answered() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

func (w *waiter) reportLocked(s builder.Stage) {
	for _, c := range w.calls {
		select {
		case <-c:
		default:
		}
		c <- s
	}
}

// lineUpLocked adds a call to the place in line that the owner has with the same key, or to a new one.
func (m *Manager) lineUpLocked(p *pool, r Request, now time.Time) (*waiter, chan builder.Stage, error) {
	w := m.inLineLocked(p.cfg.Name, r)
	if w == nil {
		if len(p.waiters) >= maxWaiters {
			return nil, nil, ErrOverloaded
		}
		m.turn++
		w = &waiter{Request: r, turn: m.turn, since: now, done: make(chan struct{})}
		p.waiters = append(p.waiters, w)
	}
	call := make(chan builder.Stage, 1)
	w.calls = append(w.calls, call)
	if d := now.Add(r.Wait); d.After(w.deadline) {
		w.deadline = d
	}
	return w, call, nil
}

// inLineLocked is the place that the same owner has with the same key, also while it is granted an environment.
func (m *Manager) inLineLocked(pool string, r Request) *waiter {
	var all []*waiter
	if p := m.pools[pool]; p != nil {
		all = p.waiters
	}
	for _, e := range m.envs {
		if w := e.tenancy.waiter; e.pool == pool && w != nil && w.same(r) {
			return w
		}
	}
	if at := slices.IndexFunc(all, func(w *waiter) bool { return w.same(r) }); at >= 0 {
		return all[at]
	}
	return nil
}

// leaveLocked takes a call back that got no answer; with the last one its place in line goes. A grant that is on its
// way is reclaimed.
func (m *Manager) leaveLocked(w *waiter, call chan builder.Stage) {
	w.calls = slices.DeleteFunc(w.calls, func(c chan builder.Stage) bool { return c == call })
	if p := m.pools[w.Pool]; p != nil && len(w.calls) == 0 {
		p.waiters = slices.DeleteFunc(p.waiters, func(o *waiter) bool { return o == w })
		m.changedLocked()
	}
}

// requeueLocked puts a waiter that could not be granted e back into its place, if somebody still wants the answer.
func (m *Manager) requeueLocked(p *pool, e *env, w *waiter) bool {
	switch {
	case len(w.calls) == 0:
		return false
	case m.closed:
		w.answer(Acquired{}, ErrClosed)
		return false
	case p == nil:
		w.answer(Acquired{}, m.unknownPoolLocked(baseOf(e.pool)))
		return false
	}
	place, _ := slices.BinarySearchFunc(p.waiters, w, func(a, b *waiter) int { return cmp.Compare(a.turn, b.turn) })
	p.waiters = slices.Insert(p.waiters, place, w)
	return true
}

func (m *Manager) failWaitersLocked(p *pool, with func(*waiter) error) {
	p.waiters = slices.DeleteFunc(p.waiters, func(w *waiter) bool {
		err := with(w)
		if err != nil {
			w.answer(Acquired{}, err)
			m.changedLocked()
		}
		return err != nil
	})
}

// failHopelessLocked answers those who wait for what cannot come in time.
func (m *Manager) failHopelessLocked(p *pool) {
	off := p.cfg.Size == 0
	if len(p.waiters) == 0 || !off && (p.fail == nil || m.warmingLocked(p.cfg.Name) > 0) {
		return
	}
	now := time.Now()
	m.failWaitersLocked(p, func(w *waiter) error {
		switch f := p.fail; {
		case off:
			return &OffError{p.cfg.Name}
		case p.derived():
			return &FailedError{baseOf(p.cfg.Name), f.err, -1}
		case now.Before(f.next) && (f.next.After(w.deadline) || f.err.Cause == builder.CauseToolMissing ||
			f.err.Cause == builder.CauseCertificate): // a person must do something first
			return &FailedError{p.cfg.Name, f.err, f.next.Sub(now)}
		}
		return nil
	})
}

// promisedLocked are the running builds of a pool in the order of their start. The first is promised to the first in
// line, and so on.
func (m *Manager) promisedLocked(key string) []*build {
	var builds []*build
	for _, e := range m.envs {
		if e.pool == key && e.build != nil && e.build.running() {
			builds = append(builds, e.build)
		}
	}
	slices.SortFunc(builds, func(a, b *build) int { return cmp.Compare(a.turn, b.turn) })
	return builds
}

func (m *Manager) promisedStageLocked(p *pool, w *waiter) builder.Stage {
	place, builds := slices.Index(p.waiters, w), m.promisedLocked(p.cfg.Name)
	if 0 <= place && place < len(builds) {
		return builds[place].stage
	}
	return waiting("for a build to begin")
}

func waiting(what string) builder.Stage {
	return builder.Stage{Name: builder.StageQueued, Message: "waiting " + what}
}
