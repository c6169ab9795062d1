package pool

import (
	"context"
	"slices"
	"time"

	"runtimed/internal/proc"
	"runtimed/pool/builder"
)

// Request asks for an environment.
type Request struct {
	Pool     string
	Wait     time.Duration // 0: answer at once
	Owner    proc.Owner
	Label    string              // at most 256 bytes, as Key
	Key      string              // the same living owner asking again with the same key gets the same environment
	Progress func(builder.Stage) // may be nil; called by Acquire itself, so never after it returned

	Needs   builder.Needs // beyond what the pool gives
	Session string        // at most 256 bytes; who acquires with the same one after the owner has ended gets the same environment
	Linger  time.Duration // how long it stays for that
}

// maxText is the length of a label, key or session, in bytes: all three fit into the lease record, however they are escaped.
const maxText = 256

// Acquired is a leased environment.
type Acquired struct {
	Env    Info
	Built  bool // while the caller waited; else it was ready
	Stale  bool // made by an earlier configuration, since builds of the present one fail
	Waited time.Duration

	Resumed  bool              // the session had it before
	Extended bool              // it was ready, and got what was asked for besides
	Added    []builder.Package // when it was extended
	AddedIn  time.Duration
}

// Acquire leases an environment of a pool; it waits in line for one up to r.Wait. The lease is on disk when it returns. Errors are
// *UnknownPoolError, *OffError, *NeedsError, *EmptyError, *FailedError, ErrOverloaded, ErrClosed, or that of ctx; with an error nothing is leased.
func (m *Manager) Acquire(ctx context.Context, r Request) (Acquired, error) {
	defer endOnPanic()
	began := time.Now()
	if err := r.checkTexts(); err != nil {
		return Acquired{}, err
	}
	if err := m.wait(ctx); err != nil {
		return Acquired{}, err
	}
	if got, ok, err := m.resume(r, began); ok || err != nil {
		return got, err
	}
	m.mu.Lock()
	p := m.named(r.Pool)
	switch {
	case m.closed:
		m.mu.Unlock()
		return Acquired{}, ErrClosed
	case p == nil:
		defer m.mu.Unlock()
		return Acquired{}, m.unknown(r.Pool)
	}
	leased, line := m.asked(p, r)
	if leased != nil {
		defer m.mu.Unlock()
		leased.replies++
		return Acquired{Env: leased.info(), Stale: line != nil && leased.hash != line.hash, Waited: time.Since(began)}, nil
	}
	switch {
	case line != nil:
		p = line
	case !r.Needs.None():
		var err error
		if p, err = m.derivedFor(p, r.Needs, began); err != nil {
			m.mu.Unlock()
			return Acquired{}, err
		}
	}
	r.Pool = p.cfg.Name
	w, call, err := m.line(p, r, began)
	if err != nil {
		m.mu.Unlock()
		return Acquired{}, err
	}
	handing := m.serve(p)
	if slices.Contains(p.waiters, w) {
		m.hurry(p)
		m.failHopeless(p)
	}
	if slices.Contains(p.waiters, w) {
		if r.Wait <= 0 {
			m.leave(w, call) // before the loop makes a build for it
			empty := &EmptyError{homeOf(r.Pool), 0, m.warming(r.Pool), p.derived()}
			m.mu.Unlock()
			m.grantAll(handing) // to those before it in line
			return Acquired{}, empty
		}
		call <- m.standing(p, w)
	}
	m.changed()
	m.lookSoon()
	m.mu.Unlock()
	m.grantAll(handing)
	return m.await(ctx, w, call, r, began)
}

// leasedTo is the environment that the same owner got with the same key. Callers hold mu.
func (m *Manager) leasedTo(r Request) *env {
	for _, e := range m.envs {
		if r.Key != "" && e.pool == r.Pool && e.lease != nil && e.lease.Key == r.Key && e.lease.Owner.Is(r.Owner) {
			return e
		}
	}
	return nil
}

// await waits for the answer of w on behalf of one call.
func (m *Manager) await(ctx context.Context, w *waiter, call chan builder.Stage, r Request, began time.Time) (Acquired, error) {
	timer := time.NewTimer(time.Until(began.Add(r.Wait)))
	defer timer.Stop()
	for waiting := true; waiting; {
		select {
		case s := <-call:
			if r.Progress != nil {
				r.Progress(s)
			}
			continue
		case <-w.done:
		case <-ctx.Done():
		case <-timer.C:
		}
		waiting = false
	}
	m.mu.Lock()
	select {
	case <-w.done: // also where the time was up in the same moment
		m.mu.Unlock()
		if w.err != nil {
			return Acquired{}, w.err
		}
		if ctx.Err() != nil {
			m.Undelivered(w.got.Env.ID)
			return Acquired{}, ctx.Err()
		}
		got := w.got
		got.Waited = time.Since(began)
		return got, nil
	default:
	}
	defer m.mu.Unlock()
	m.leave(w, call)
	if ctx.Err() != nil {
		return Acquired{}, ctx.Err()
	}
	return Acquired{}, &EmptyError{homeOf(r.Pool), time.Since(began), m.warming(r.Pool), homeOf(r.Pool) != r.Pool}
}

// unknown is the error for a pool that is not there. Callers hold mu.
func (m *Manager) unknown(name string) error {
	err := &UnknownPoolError{Name: name, Pools: []string{}}
	for _, pc := range m.cfg.Pools {
		err.Pools = append(err.Pools, pc.Name)
	}
	return err
}
