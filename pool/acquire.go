package pool

import (
	"context"
	"slices"
	"time"

	"runtimed/internal/proc"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// Request asks for an environment.
type Request struct {
	Pool     string
	Wait     time.Duration // 0: answer at once
	Owner    proc.Owner
	Label    string              // at most envdir.MaxText bytes, as Key and Session
	Key      string              // the same owner asking again with the same key gets the same environment
	Progress func(builder.Stage) // may be nil; not called after Acquire has returned

	Needs   builder.Needs // beyond what the pool has
	Session string        // gets the same environment again after the owner has ended
	Linger  time.Duration // how long it is kept for that
	Standby bool          // the caller can use a standby kernel
}

// Acquired is a leased environment.
type Acquired struct {
	Env    Info
	Built  bool // while the caller waited; else it was ready
	Stale  bool // made by an earlier configuration, since builds of the present one fail
	Waited time.Duration

	Resumed  bool              // the session had it before
	Extended bool              // it was ready, and what was asked for was added
	Added    []builder.Package // where it was extended
	AddedIn  time.Duration
	Standby  *Standby // nil: there is none
}

// Acquire leases an environment of a pool and waits for one up to r.Wait. The lease is on disk when it returns. Errors
// are *UnknownPoolError, *OffError, *KindError, *EmptyError, *FailedError, ErrOverloaded, ErrClosed, or that of ctx;
// with an error nothing is leased.
func (m *Manager) Acquire(ctx context.Context, r Request) (Acquired, error) {
	began := time.Now()
	got, err := m.acquire(ctx, r)
	m.countAcquire(r, got, err, time.Since(began))
	if err == nil && !got.Resumed {
		m.endOutdated(r, got.Env.ID)
	}
	return got, err
}

func (m *Manager) acquire(ctx context.Context, r Request) (got Acquired, err error) {
	defer endOnPanic() // else its place in line would stay, and be granted an environment that nobody knows of
	began := time.Now()
	if err := r.lease().Check(); err != nil {
		return Acquired{}, err
	}
	if err := m.waitOpen(ctx); err != nil {
		return Acquired{}, err
	}
	if got, ok, err := m.resume(r, began); ok || err != nil {
		return got, err
	}
	// What is ready is granted before update returns, to whoever has waited longest.
	var w *waiter
	var call chan builder.Stage
	m.update(func() {
		m.neededLocked()
		var leased *env
		var p *pool
		if leased, p, err = m.findPlaceLocked(r, began); err != nil {
			return
		}
		if leased != nil {
			leased.tenancy.replies++
			got = leased.acquiredLocked(p, began)
			return
		}
		r.Pool = p.cfg.Name
		if w, call, err = m.lineUpLocked(p, r, began); err != nil {
			return
		}
		m.changedLocked()
		m.serveLocked(p)
		if !slices.Contains(p.waiters, w) {
			return // it is being granted one
		}
		m.hurryLocked(p)
		m.failHopelessLocked(p)
		switch {
		case w.answered():
		case r.Wait <= 0:
			m.leaveLocked(w, call) // before the fill loop makes a build for it
			err = m.emptyLocked(r, 0)
		default:
			call <- m.promisedStageLocked(p, w)
		}
	})
	if err != nil || w == nil {
		return got, err
	}
	return m.await(ctx, w, call, r, began)
}

// findPlaceLocked returns the environment that the owner was leased with the same key, or the pool to wait in.
func (m *Manager) findPlaceLocked(r Request, now time.Time) (leased *env, p *pool, err error) {
	base := m.configuredLocked(r.Pool)
	switch {
	case m.closed:
		return nil, nil, ErrClosed
	case base == nil:
		return nil, nil, m.unknownPoolLocked(r.Pool)
	}
	// Which of the pools served this key before depended on what was ready then.
	for _, key := range r.pools() {
		p := m.pools[key]
		if e := m.leasedToLocked(key, r); e != nil && e.has(base, r.Needs) {
			return e, p, nil
		}
		if w := m.inLineLocked(key, r); p != nil && w != nil && w.Needs.Key("") == r.Needs.Key("") {
			return nil, p, nil
		}
	}
	if r.Needs.None() {
		return nil, base, nil
	}
	p, err = m.derivedForLocked(base, r.Needs, now)
	return nil, p, err
}

// await waits for the answer to w on behalf of one call.
func (m *Manager) await(
	ctx context.Context, w *waiter, call chan builder.Stage, r Request, began time.Time,
) (Acquired, error) {
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
	var got Acquired
	var err error
	m.update(func() {
		switch {
		case w.answered(): // perhaps just as the time was up
			got, err = w.got, w.err
		case ctx.Err() != nil:
			m.leaveLocked(w, call)
			err = ctx.Err()
		default:
			m.leaveLocked(w, call)
			err = m.emptyLocked(r, time.Since(began))
		}
	})
	if err != nil {
		return Acquired{}, err
	}
	if ctx.Err() != nil {
		m.Undelivered(got.Env.ID)
		return Acquired{}, ctx.Err()
	}
	got.Waited = time.Since(began)
	return got, nil
}

func (m *Manager) emptyLocked(r Request, waited time.Duration) error {
	return &EmptyError{Name: baseOf(r.Pool), Waited: waited, Warming: m.warmingLocked(r.Pool),
		Needs: baseOf(r.Pool) != r.Pool, Project: r.Needs.Project != nil}
}

func (m *Manager) leasedToLocked(pool string, r Request) *env {
	for _, e := range m.envs {
		if l := e.tenancy.lease; r.Key != "" && e.pool == pool && l != nil && l.Key == r.Key && l.Owner.Is(r.Owner) {
			return e
		}
	}
	return nil
}

func (r Request) pools() []string {
	if r.Needs.None() {
		return []string{r.Pool}
	}
	return []string{r.Pool, r.Needs.Key(r.Pool)}
}

// lease is the one that r gets. Without a session nobody can come back for it.
func (r Request) lease() *envdir.Lease {
	l := &envdir.Lease{Owner: r.Owner, Label: r.Label, Key: r.Key, LeasedAt: time.Now().UTC(), Session: r.Session}
	if r.Session != "" {
		l.LingerMS = max(0, r.Linger.Milliseconds())
	}
	return l
}
