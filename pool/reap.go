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
	lookEvery  = 5 * time.Second  // at owners, and at processes that run from an environment that is to go
	stuckEvery = 10 * time.Minute // at what could not be removed

	troubleEvery = time.Minute // at what only the machine was in the way of
)

// sweeper ends the leases of owners that are gone, and moves what is to go into the trash; both only when no process runs from the
// environment any more.
func (m *Manager) reaper() {
	select {
	case <-m.opened:
	case <-m.ctx.Done():
		return
	}
	for {
		var again <-chan time.Time
		m.measureOlder(sizeEvery)
		if more, due := m.reapOnce(); more {
			again = time.After(min(lookEvery, due))
		}
		select {
		case <-m.ctx.Done():
			return
		case <-m.reap:
		case <-again:
		}
	}
}

// suspect is an environment that goes if no process runs from it.
type suspect struct {
	e     *env
	lease *envdir.Lease // nil: it is removing
	owner proc.Owner    // of that, or of the last one
	user  proc.Process
}

// look is what can be known of an owner. Another boot may be one of another machine, where machine-ids do not tell them apart.
func (m *Manager) look(o proc.Owner) (s proc.Sight, where string) {
	if o.Unknown() {
		return proc.Unseen, "since its record cannot be read"
	}
	s, where = m.procs.Look(o)
	if s == proc.Gone && o.BootID != proc.BootID() && (m.store.Guest || m.store.Network && o.MachineID == "") {
		return proc.Unseen, "of another boot, perhaps on another machine"
	}
	return s, where
}

// alive says whether an owner is not known to have ended.
func (m *Manager) alive(o proc.Owner) bool {
	s, _ := m.look(o)
	return s != proc.Gone
}

// sweepOnce looks once and says whether anything is left to look at later, and when the first lease has lingered long enough.
func (m *Manager) reapOnce() (more bool, due time.Duration) {
	now := time.Now()
	due = lookEvery
	m.mu.Lock()
	var list []suspect
	for _, e := range m.envs {
		switch {
		case e.state == Removing && now.Before(e.retryAt):
			more = true
		case now.Before(e.lingersUntil()):
			more, due = true, min(due, e.lingersUntil().Sub(now))
		case e.state == Removing || e.lease != nil:
			s := suspect{e, e.lease, e.tenant, e.user}
			if s.lease != nil {
				s.owner = s.lease.Owner
			}
			list = append(list, s)
			more = true
		}
	}
	m.looking = more
	m.mu.Unlock()
	list = slices.DeleteFunc(list, func(s suspect) bool { return s.lease != nil && m.alive(s.owner) || m.procs.Alive(s.user) })
	if len(list) == 0 {
		return more, due
	}
	owners := map[string]proc.Owner{}
	for _, s := range list {
		owners[s.e.id] = s.owner
	}
	inUse, err := m.procs.Users(m.store.Envs(), owners)
	if m.tellBlind(err) {
		return more, due
	}
	for _, s := range list {
		switch user, used := inUse[s.e.id]; {
		case used:
			m.mu.Lock()
			s.e.user, s.e.orphan = user, nil
			m.mu.Unlock()
		case s.lease != nil && m.linger(s.e, s.lease, now):
			due = min(due, s.lease.Linger())
		case s.lease != nil:
			m.orphaned(s.e, s.lease)
		default:
			m.remove(s.e)
		}
	}
	return more, due
}

// tellBlind says once that no process can be seen, so that no environment is removed.
func (m *Manager) tellBlind(err error) bool {
	if err != nil && !m.blind {
		m.log.Warn("no environment that was used is removed, since some process may run from it", zap.Error(err))
	}
	m.blind = err != nil
	return m.blind
}

// orphaned ends a lease whose owner is gone.
func (m *Manager) orphaned(e *env, lease *envdir.Lease) {
	err := m.release(e.id, lease, "its owner has ended")
	if errors.Is(err, ErrUnknownEnv) || errors.Is(err, ErrClosed) {
		return // it was released or adopted meanwhile, or the next daemon sees to it
	}
	m.mu.Lock()
	told := e.stuck
	e.stuck = err != nil
	m.mu.Unlock()
	switch {
	case err == nil:
		m.log.Info("the owner of an environment has ended", zap.String("env", e.id), zap.Int("owner_pid", lease.Owner.PID))
	case !told:
		m.log.Warn("the owner of an environment has ended, and its lease cannot be; trying again", zap.String("env", e.id), zap.Error(err))
	}
}

// remove takes the folder of e away, and then e itself.
func (m *Manager) remove(e *env) {
	var err error
	if e.folder.IsNot(e.dir) && !statedir.IsMount(e.dir) { // which goes again
		err = fmt.Errorf("another folder is at %s, which this daemon did not make", e.dir)
	} else {
		err = m.store.Discard(e.id)
	}
	if err == nil {
		err = m.store.End(e.id)
	}
	wake(m.trash)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		if !e.stuck {
			m.log.Warn("an environment cannot be removed; trying again now and then", zap.String("env", e.id), zap.Error(err))
		}
		wait := stuckEvery
		var mount *statedir.MountError
		if errors.As(err, &mount) {
			wait = lookEvery // to see that it is gone costs little
		} else if envdir.MachineFault(err) {
			wait = troubleEvery
		}
		e.stuck, e.retryAt = true, time.Now().Add(wait)
		return
	}
	delete(m.envs, e.id)
	for _, p := range m.pools {
		if e.manifest.ID != "" && p.fail != nil && p.fail.err.Cause == builder.CauseDiskFull {
			p.tryAgain() // there is more room now
		}
	}
	m.changed()
	m.lookSoon()
}
