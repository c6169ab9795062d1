package pool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"runtimed/internal/proc"
	"runtimed/pool/envdir"
)

// syncDelay is how long a power failure may take a lease record back. It would end the owner too.
const syncDelay = 100 * time.Millisecond

// Release ends a lease. That is on disk when it returns; the environment is removed once no process runs from it.
// Errors are ErrUnknownEnv, and *FailedError where it cannot be written.
func (m *Manager) Release(ctx context.Context, id string) error {
	if err := m.waitOpen(ctx); err != nil {
		return err
	}
	return m.release(id, nil, "released")
}

// release ends the lease of id; where only is not nil, just that one.
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
		info = e.infoLocked()
	})
	return info, err
}

// changeLease writes the record that next makes of the lease of id, and then calls applyLocked. The lease does not
// change in between: whoever changes it holds e.record.
func (m *Manager) changeLease(
	id string, next func(*envdir.Lease) (envdir.LeaseRecord, error), applyLocked func(*env),
) error {
	defer endOnPanic() // else the record and the tenancy may differ
	var e *env
	if err := m.enter(func() { e = m.envs[id] }); err != nil {
		return err
	}
	defer m.work.Done()
	if e == nil {
		return ErrUnknownEnv
	}
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
		// Without a lease record it is never ready again.
		e.log.Warn("a leased environment or its lease record was deleted by somebody else")
	}
	m.update(func() {
		applyLocked(e)
		m.syncSoonLocked(e.dir)
	})
	return nil
}

// writeLease replaces the lease record of e, unless somebody put another folder in its place.
func (m *Manager) writeLease(e *env, r envdir.LeaseRecord) error {
	if e.folder.IsNot(e.dir) {
		return fmt.Errorf("%w: another one is at %s", envdir.ErrNoFolder, e.dir)
	}
	return m.store.WriteLease(e.dir, r)
}

// holdLocked makes lease that of e. So many more replies tell of it.
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

func (e *env) lingersUntil() time.Time {
	if e.tenancy.lease == nil || e.tenancy.orphanedAt.IsZero() {
		return time.Time{}
	}
	return e.tenancy.orphanedAt.Add(e.tenancy.lease.Linger())
}

// syncSoonLocked has a lease record synced without making the reply wait.
func (m *Manager) syncSoonLocked(dir string) {
	m.unsynced = append(m.unsynced, dir)
	wake(m.wakeSync)
}

// syncer syncs lease records, a little later: the next acquire writes to the same journal, and would wait for the sync.
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

func (m *Manager) sleep(d time.Duration) bool {
	select {
	case <-m.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
