package pool

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"runtimed/internal/proc"
	"runtimed/pool/envdir"
)

// syncDelay is how long a lease record may be lost to a power failure, which would end its owner too.
const syncDelay = 100 * time.Millisecond

// Release ends a lease. That is on disk when it returns; the environment is removed once no process runs from it. The
// error is ErrUnknownEnv where id is not leased, *FailedError where that cannot be put on disk.
func (m *Manager) Release(ctx context.Context, id string) error {
	if err := m.waitOpen(ctx); err != nil {
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
		if s, _ := m.ownerSight(l.Owner); s != proc.Unseen { // else whoever released it by hand knows best
			record.Lease = l
		}
		return record, nil
	}, func(e *env) { m.moveLocked(e, Removing, why) })
}

// Adopt gives a lease to another process of the same user. Errors are ErrUnknownEnv, *OwnerError and *FailedError.
func (m *Manager) Adopt(ctx context.Context, id string, pid int) (info Info, err error) {
	if err := m.waitOpen(ctx); err != nil {
		return Info{}, err
	}
	owner, ownerErr := m.procs.Named(pid)
	var adopted envdir.Lease
	err = m.changeLease(id, func(l *envdir.Lease) (envdir.LeaseRecord, error) {
		if ownerErr != nil {
			return envdir.LeaseRecord{}, ownerErr
		}
		adopted = *l
		adopted.Owner = owner
		return envdir.LeaseRecord{State: envdir.LeaseHeld, Lease: &adopted}, nil
	}, func(e *env) {
		m.moveLocked(e, Leased, "adopted")
		m.holdLocked(e, &adopted, 1) // this reply tells of the lease too
		info = e.info()
	})
	return info, err
}

// changeLease writes the record that next makes of the lease of id, and then has applyLocked say so in memory. The
// lease does not change in between: whoever changes it holds e.record.
func (m *Manager) changeLease(
	id string, next func(*envdir.Lease) (envdir.LeaseRecord, error), applyLocked func(*env),
) error {
	var e *env
	err := ErrUnknownEnv
	m.view(func() {
		if e = m.envs[id]; e == nil {
			return
		}
		if err = nil; !m.enterLocked() {
			err = ErrClosed
		}
	})
	if err != nil {
		return err
	}
	defer m.work.Done()
	e.record.Lock()
	defer e.record.Unlock()
	var lease *envdir.Lease
	if m.view(func() { lease = e.tenancy.lease }); lease == nil {
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
		// Without a lease record it is never ready again, whatever happens now.
		e.log.Warn("a leased environment was deleted by somebody else, or its lease record")
	}
	m.update(func() {
		applyLocked(e)
		m.syncSoonLocked(e.dir)
	})
	return nil
}

// holdLocked makes lease that of e, of which so many more replies may tell.
func (m *Manager) holdLocked(e *env, lease *envdir.Lease, replies int) {
	t := &e.tenancy
	t.lease, t.orphanedAt = lease, time.Time{}
	t.replies += replies
	if m.closed {
		return
	}
	t.stopWatching()
	if o := lease.Owner; !o.Unknown() && o.Namespace == proc.Namespace() { // else the number is somebody else's here
		t.unwatch = m.procs.OnExit(o.PID, func() { wake(m.wakeReap) })
	}
	if !m.reaping {
		m.reaping, m.effects.reap = true, true
	}
}

// lingersUntil is when the lease of e has stayed long enough without its owner; zero where the owner is not known to
// have ended.
func (e *env) lingersUntil() time.Time {
	if e.tenancy.lease == nil || e.tenancy.orphanedAt.IsZero() {
		return time.Time{}
	}
	return e.tenancy.orphanedAt.Add(e.tenancy.lease.Linger())
}

// syncSoonLocked has a lease record outlive a power loss, off the path of the reply.
func (m *Manager) syncSoonLocked(dir string) {
	m.unsynced = append(m.unsynced, dir)
	wake(m.wakeSync)
}

// syncer syncs lease records. It waits a little first: a write to the same journal would wait for the sync, and the
// next acquire is such a write.
func (m *Manager) syncer() {
	for m.ctx.Err() == nil {
		select {
		case <-m.ctx.Done():
		case <-m.wakeSync:
			m.sleep(syncDelay)
		}
		var dirs []string
		m.view(func() { dirs, m.unsynced = m.unsynced, nil })
		for _, d := range dirs {
			m.store.SyncLease(d)
		}
	}
}

// sleep waits for d; false where the Manager closes before.
func (m *Manager) sleep(d time.Duration) bool {
	select {
	case <-m.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
