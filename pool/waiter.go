package pool

import (
	"cmp"
	"slices"
	"time"

	"runtimed/pool/builder"
)

// maxWaiters is how many acquires may wait for one pool.
const maxWaiters = 1024

// waiter is one place in line. Several calls share it where they have the same owner and key.
type waiter struct {
	Request
	turn     uint64 // who came first
	since    time.Time
	deadline time.Time            // of the most patient call
	calls    []chan builder.Stage // one for each call that still wants the answer; holds the stage that it has not told yet
	tried    []*env               // that could not be handed to it, and are as good as they were
	done     chan struct{}
	got      Acquired // these two are set before done is closed
	err      error
}

func (w *waiter) same(r Request) bool { return r.Key != "" && w.Key == r.Key && w.Owner.Is(r.Owner) }

func (w *waiter) finish(got Acquired, err error) {
	w.got, w.err = got, err
	close(w.done)
}

// tell has all calls report a stage, in place of one that they have not reported yet. Callers hold mu, so none else sends.
func (w *waiter) tell(s builder.Stage) {
	for _, c := range w.calls {
		select {
		case <-c:
		default:
		}
		c <- s
	}
}

// line finds the place in line that the same owner has with the same key, or makes one at the end, and adds a call to it. Callers
// hold mu.
func (m *Manager) line(p *pool, r Request, now time.Time) (*waiter, chan builder.Stage, error) {
	w := m.inLine(p, r)
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

// inLine is the place that the same owner has with the same key, also where it is just being served; p may be nil. Callers hold mu.
func (m *Manager) inLine(p *pool, r Request) *waiter {
	if p != nil {
		for _, w := range p.waiters {
			if w.same(r) {
				return w
			}
		}
	}
	for _, e := range m.envs {
		if e.pool == r.Pool && e.granting != nil && e.granting.same(r) {
			return e.granting
		}
	}
	return nil
}

// leave takes a call back that got no answer; with the last one its place in line goes. While an environment is being handed to
// it, hand sees that nobody wants it. Callers hold mu.
func (m *Manager) leave(w *waiter, call chan builder.Stage) {
	w.calls = slices.DeleteFunc(w.calls, func(c chan builder.Stage) bool { return c == call })
	if p := m.pools[w.Pool]; p != nil && len(w.calls) == 0 {
		p.waiters = slices.DeleteFunc(p.waiters, func(o *waiter) bool { return o == w })
		m.changed()
		m.lookSoon() // a build may no longer be wanted
	}
}

// back puts a waiter where it was in line, since what it was to get is damaged. Callers hold mu.
func (p *pool) back(w *waiter) {
	place, _ := slices.BinarySearchFunc(p.waiters, w.turn, func(o *waiter, turn uint64) int {
		if o.turn < turn {
			return -1
		}
		return 1
	})
	p.waiters = slices.Insert(p.waiters, place, w)
}

// failWaiters answers those who wait for p and for whom with returns an error. Callers hold mu.
func (m *Manager) failWaiters(p *pool, with func(*waiter) error) {
	p.waiters = slices.DeleteFunc(p.waiters, func(w *waiter) bool {
		err := with(w)
		if err != nil {
			w.finish(Acquired{}, err)
			m.changed()
		}
		return err != nil
	})
}

// failHopeless answers those who wait for what cannot come in time. Callers hold mu.
func (m *Manager) failHopeless(p *pool) {
	off := p.cfg.Size == 0
	if len(p.waiters) == 0 || !off && (p.fail == nil || m.warming(p.cfg.Name) > 0) {
		return
	}
	now := time.Now()
	m.failWaiters(p, func(w *waiter) error {
		switch f := p.fail; {
		case off:
			return &OffError{p.cfg.Name}
		case p.derived():
			return &FailedError{homeOf(p.cfg.Name), f.err, -1}
		case now.Before(f.next) && (f.err.Cause == builder.CauseToolMissing || f.next.After(w.deadline)):
			return &FailedError{p.cfg.Name, f.err, f.next.Sub(now)}
		}
		return nil
	})
}

// promised are the builds of a pool in the order in which they were started: the first is promised to the first in line, and so
// on. Callers hold mu.
func (m *Manager) promised(p *pool) []*env {
	var builds []*env
	for _, e := range m.envs {
		if e.pool == p.cfg.Name && e.state == Warming && e.started {
			builds = append(builds, e)
		}
	}
	slices.SortFunc(builds, func(a, b *env) int { return cmp.Compare(a.turn, b.turn) })
	return builds
}

// standing is what a call is told when it joins the line. Callers hold mu.
func (m *Manager) standing(p *pool, w *waiter) builder.Stage {
	place, builds := slices.Index(p.waiters, w), m.promised(p)
	if 0 <= place && place < len(builds) {
		return builds[place].stage
	}
	return builder.Stage{Name: builder.StageQueued, Message: "waiting for a build to begin"}
}
