package pool

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/proc"
	"runtimed/internal/statedir"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

const (
	lookEvery  = 5 * time.Second  // at owners, and at processes that run from what is to go
	stuckEvery = 10 * time.Minute // at what could not be removed
	faultEvery = time.Minute      // at what failed only because of the machine
)

// reaper ends the leases of owners that are gone, and moves environments to the trash; both only when no process runs
// from them.
func (m *Manager) reaper() {
	if m.waitOpen(m.ctx) != nil {
		return
	}
	for {
		var again <-chan time.Time
		m.measureOlder(sizeEvery)
		if more, due := m.reap(); more {
			again = time.After(min(lookEvery, due))
		}
		select {
		case <-m.ctx.Done():
			return
		case <-m.wakeReap:
		case <-again:
		}
	}
}

type suspect struct {
	e     *env
	lease *envdir.Lease // nil: it is removing
	owner proc.Owner    // of that, or of the last one
	user  proc.Process
}

// ownerSight is what can be known of an owner. Another boot may be one of another machine, where machine-ids do not
// tell them apart.
func (m *Manager) ownerSight(o proc.Owner) (s proc.Sight, where string) {
	if o.Unknown() {
		return proc.Unseen, "since its record cannot be read"
	}
	s, where = m.procs.Look(o)
	if s == proc.Gone && o.BootID != proc.BootID() && (m.store.Guest || m.store.Network && o.MachineID == "") {
		return proc.Unseen, "of another boot, perhaps on another machine"
	}
	return s, where
}

func (m *Manager) alive(o proc.Owner) bool {
	s, _ := m.ownerSight(o)
	return s != proc.Gone
}

// reap looks once. It says whether anything is left to look at, and in how long the first lease has lingered.
func (m *Manager) reap() (more bool, due time.Duration) {
	now := time.Now()
	due = lookEvery
	var list []suspect
	m.view(func() {
		for _, e := range m.envs {
			until, lease := e.lingersUntil(), e.tenancy.lease
			switch {
			case e.state == Removing:
				more = true
				if r := e.removal; !now.Before(r.retryAt) {
					list = append(list, suspect{e, nil, r.owner, r.user})
				}
			case now.Before(until):
				more, due = true, min(due, until.Sub(now))
			case lease != nil:
				more = true
				list = append(list, suspect{e, lease, lease.Owner, e.tenancy.user})
			}
		}
		m.reaping = more
	})
	list = slices.DeleteFunc(list, func(s suspect) bool {
		return s.lease != nil && m.alive(s.owner) || m.procs.Alive(s.user)
	})
	if len(list) == 0 {
		return more, due
	}
	owners := map[string]proc.Owner{}
	m.update(func() {
		for _, s := range list {
			owners[s.e.id] = s.owner
			m.endStandbyLocked(s.e, "who acquired it has ended") // it would count as a user
		}
	})
	users, err := m.procs.Users(m.store.Envs(), owners)
	if m.reportBlind(err) {
		return more, due
	}
	for _, s := range list {
		user, used := users[s.e.id]
		switch {
		case used:
			m.view(func() {
				s.e.removal.user, s.e.tenancy.user, s.e.tenancy.orphanedAt = user, user, time.Time{}
			})
		case s.lease == nil:
			m.remove(s.e)
		case m.orphan(s.e, s.lease, now):
			due = min(due, s.lease.Linger())
		default:
			m.endOrphaned(s.e, s.lease)
		}
	}
	return more, due
}

// orphan begins the time for which a lease lingers without its owner; false where it has none, or had it. It counts
// from this daemon's first look, so that an absence of the daemon cuts nothing short.
func (m *Manager) orphan(e *env, lease *envdir.Lease, now time.Time) (lingers bool) {
	m.view(func() {
		if lease.LingerMS > 0 && e.tenancy.lease == lease && e.tenancy.orphanedAt.IsZero() {
			e.tenancy.orphanedAt, lingers = now, true
		}
	})
	return lingers
}

func (m *Manager) reportBlind(err error) bool {
	if err != nil && !m.blind {
		m.log.Warn("no environment that was used is removed, since some process may run from it", zap.Error(err))
	}
	m.blind = err != nil
	return m.blind
}

func (m *Manager) endOrphaned(e *env, lease *envdir.Lease) {
	err := m.release(e.id, lease, "its owner has ended")
	if errors.Is(err, ErrUnknownEnv) || errors.Is(err, ErrClosed) {
		return // somebody else changed it, or the next daemon ends it
	}
	if err == nil {
		e.log.Info("the owner of an environment has ended", zap.Int("owner_pid", lease.Owner.PID))
		return
	}
	m.view(func() {
		e.warnOnceLocked("the owner of an environment has ended, but its lease cannot be ended; trying again", err)
	})
}

// remove moves the folder of e to the trash, and forgets e.
func (m *Manager) remove(e *env) {
	var err error
	if e.folder.IsNot(e.dir) && !statedir.IsMount(e.dir) { // which goes again
		err = fmt.Errorf("the folder at %s is not the one that this daemon made", e.dir)
	} else {
		err = m.store.Discard(e.id)
	}
	if err == nil {
		err = m.store.End(e.id)
	}
	wake(m.wakeTrash)
	m.update(func() {
		if err != nil {
			e.warnOnceLocked("an environment cannot be removed; trying again now and then", err)
			e.removal.retryAt = time.Now().Add(retryIn(err))
			return
		}
		delete(m.envs, e.id)
		for _, p := range m.pools {
			if e.manifest.ID != "" && p.fail != nil && p.fail.err.Cause == builder.CauseDiskFull {
				p.tryAgain() // there is more room now
			}
		}
		m.changedLocked()
	})
}
