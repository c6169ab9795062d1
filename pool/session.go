package pool

import (
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

var errTaken = errors.New("the session has a living owner")

// resume leases to r the environment that its session had before, if its owner has ended; ok is false where there is
// none.
func (m *Manager) resume(r Request, began time.Time) (got Acquired, ok bool, err error) {
	if r.Session == "" {
		return Acquired{}, false, nil
	}
	for _, e := range m.ofSession(r) {
		var lease *envdir.Lease
		err := m.changeLease(e.id, func(l *envdir.Lease) (envdir.LeaseRecord, error) {
			if l.Session != r.Session || m.alive(l.Owner) {
				return envdir.LeaseRecord{}, errTaken
			}
			if err := m.store.Runs(e.dir, e.manifest.Python); err != nil {
				if envdir.MachineFault(err) {
					err = unwritten(e.id, e.pool, err)
				}
				return envdir.LeaseRecord{}, err
			}
			lease = r.lease()
			return envdir.LeaseRecord{State: envdir.LeaseHeld, Lease: lease}, nil
		}, func(e *env) {
			m.moveLocked(e, Leased, "its session resumed")
			m.holdLocked(e, lease, 1) // not the only reply: what was used is never reclaimed
			got = e.acquiredLocked(m.pools[e.pool], began)
			got.Resumed = true
		})
		switch {
		case err == nil:
			e.log.Info("a session continues in its environment", zap.Int("owner_pid", r.Owner.PID))
			return got, true, nil
		case errors.As(err, new(*FailedError)): // another environment would not be what was asked for
			return Acquired{}, false, err
		case !errors.Is(err, errTaken) && !errors.Is(err, ErrUnknownEnv) && !errors.Is(err, ErrClosed):
			e.log.Warn("the environment of a session cannot be used any more", zap.Error(err))
		}
	}
	return Acquired{}, false, nil
}

// ofSession are the environments of r's session, the last leased first; none where r is the repetition of a call that
// got or awaits one.
func (m *Manager) ofSession(r Request) []*env {
	var list []*env
	leasedAt := map[*env]time.Time{}
	m.view(func() {
		base := m.configuredLocked(r.Pool)
		if m.closed || base == nil {
			return
		}
		for _, key := range r.pools() {
			if m.leasedToLocked(key, r) != nil || m.pools[key] != nil && m.inLineLocked(key, r) != nil {
				return
			}
		}
		for _, e := range m.envs {
			if l := e.tenancy.lease; l != nil && l.Session == r.Session && e.has(base, r.Needs) {
				list, leasedAt[e] = append(list, e), l.LeasedAt
			}
		}
	})
	slices.SortFunc(list, func(a, b *env) int { return leasedAt[b].Compare(leasedAt[a]) })
	return list
}

// endOutdated ends what the session of r still holds, without an owner, of earlier states of the same project: it was
// given another environment.
func (m *Manager) endOutdated(r Request, given string) {
	of := r.Needs.Project
	if of == nil || r.Session == "" {
		return
	}
	leases := map[string]*envdir.Lease{}
	m.view(func() {
		for id, e := range m.envs {
			l, had := e.tenancy.lease, e.manifest.Needs
			if id != given && l != nil && l.Session == r.Session && had != nil && had.Project != nil &&
				had.Project.Path == of.Path && had.Project.Digest != of.Digest {
				leases[id] = l
			}
		}
	})
	for id, l := range leases {
		if !m.alive(l.Owner) {
			_ = m.release(id, l, "its project was changed") // else it lingers as any other
		}
	}
}

func (e *env) has(base *pool, needs builder.Needs) bool {
	switch name := base.cfg.Name; {
	case needs.None():
		return e.pool == name
	case e.pool != name || needs.Project != nil:
		return e.pool == needs.Key(name)
	case !e.runsOn(base, needs):
		return false
	}
	return base.installs(needs.Packages)
}
