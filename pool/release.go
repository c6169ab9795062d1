package pool

import (
	"context"
	"errors"
	"io/fs"

	"go.uber.org/zap"

	"runtimed/internal/proc"
	"runtimed/pool/envdir"
)

// Release ends a lease. That is on disk when it returns; the environment is removed once no process runs from it. The error is
// ErrUnknownEnv where id is not leased, *FailedError where that cannot be put on disk.
func (m *Manager) Release(ctx context.Context, id string) error {
	defer endOnPanic()
	if err := m.wait(ctx); err != nil {
		return err
	}
	return m.release(id, nil, "released")
}

// release ends the lease of id; where only is set, just if it is still that one.
func (m *Manager) release(id string, only *envdir.Lease, why string) error {
	return m.changeLease(id, func(l *envdir.Lease) (envdir.LeaseRecord, error) {
		if only != nil && l != only {
			return envdir.LeaseRecord{}, ErrUnknownEnv // it was adopted meanwhile
		}
		record := envdir.LeaseRecord{State: envdir.LeaseReleased}
		if s, _ := m.look(l.Owner); s != proc.Unseen { // else nobody here can know more, and whoever released it by hand knows
			record.Lease = l
		}
		return record, nil
	}, func(e *env) {
		m.move(e, Removing, why)
		m.lookSoon()
	})
}

// Adopt gives a lease to another process of the same user. Errors are ErrUnknownEnv, *OwnerError and *FailedError.
func (m *Manager) Adopt(ctx context.Context, id string, pid int) (Info, error) {
	defer endOnPanic()
	if err := m.wait(ctx); err != nil {
		return Info{}, err
	}
	owner, named := m.procs.Named(pid)
	var adopted envdir.Lease
	var info Info
	err := m.changeLease(id, func(l *envdir.Lease) (envdir.LeaseRecord, error) {
		if named != nil {
			return envdir.LeaseRecord{}, named
		}
		adopted = *l
		adopted.Owner = owner
		return envdir.LeaseRecord{State: envdir.LeaseHeld, Lease: &adopted}, nil
	}, func(e *env) {
		e.lease = &adopted
		e.replies++ // this one tells of the lease too
		m.watchOwner(e)
		m.changed()
		info = e.info()
	})
	return info, err
}

// changeLease writes the record that next makes of the lease of id, and then lets apply say so in memory, under mu.
func (m *Manager) changeLease(id string, next func(*envdir.Lease) (envdir.LeaseRecord, error), apply func(*env)) error {
	m.mu.Lock()
	e, err := m.find(id)
	if err == nil && !m.enter() {
		err = ErrClosed
	}
	m.mu.Unlock()
	if err != nil {
		return err
	}
	defer m.work.Done()
	e.record.Lock()
	defer e.record.Unlock()
	m.mu.Lock()
	lease := e.lease
	m.mu.Unlock()
	if lease == nil {
		return ErrUnknownEnv
	}
	record, err := next(lease)
	if err != nil {
		return err
	}
	if err := m.writeLease(e, record); err != nil {
		gone := errors.Is(err, fs.ErrNotExist) || errors.Is(err, envdir.ErrNoFolder)
		if !gone || record.State != envdir.LeaseReleased {
			return unwritten(id, e.pool, err)
		}
		// somebody deleted it; without a lease record it is never ready again, whatever happens now
		m.log.Warn("a leased environment was deleted by somebody else, or its lease record", zap.String("env", id))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	apply(e) // the lease cannot have changed: whoever changes it holds e.record
	m.syncSoon(e.dir)
	return nil
}

// Flush drops the ready environments of a pool, or of all where name is empty, builds new ones, and returns how many it dropped.
func (m *Manager) Flush(ctx context.Context, name string) (int, error) {
	defer endOnPanic()
	if err := m.wait(ctx); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if name != "" && m.named(name) == nil {
		return 0, m.unknown(name)
	}
	n := 0
	for _, e := range m.envs {
		switch {
		case name != "" && homeOf(e.pool) != name:
		case e.state == Ready:
			m.move(e, Removing, "flushed")
			n++
		case e.recheck && e.state == Warming:
			m.drop(e, "flushed")
		}
	}
	for key, p := range m.pools {
		switch {
		case name != "" && homeOf(key) != name:
		case p.derived():
			m.forget(p, "flushed")
		default:
			p.tryAgain()
		}
	}
	m.changed()
	m.lookSoon()
	return n, nil
}

// watchOwner has the sweeper look at once when the owner of e ends. Callers hold mu.
func (m *Manager) watchOwner(e *env) {
	if m.closed {
		return
	}
	if e.unwatch != nil {
		e.unwatch()
		e.unwatch = nil
	}
	if o := e.lease.Owner; !o.Unknown() && o.Namespace == proc.Namespace() { // else the number is somebody else's here
		e.unwatch = m.procs.OnExit(o.PID, m.reapSoon)
	}
	if !m.looking { // its regular look begins with the first lease
		m.looking = true
		m.reapSoon()
	}
}
