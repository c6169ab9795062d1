package pool

import (
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// errTaken: somebody else was faster, or the lease is of another session by now.
var errTaken = errors.New("the session has a living owner")

// resume gives r the environment that its session had before, if its owner has ended; ok is false where there is none.
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
			p := m.pools[e.pool]
			got = Acquired{Env: e.info(), Stale: p != nil && e.hash != p.hash, Resumed: true, Waited: time.Since(began)}
		})
		switch {
		case err == nil:
			e.log.Info("a session goes on in its environment", zap.Int("owner_pid", r.Owner.PID))
			return got, true, nil
		case errors.As(err, new(*FailedError)): // it is there, and another one would not be what was asked for
			return Acquired{}, false, err
		case !errors.Is(err, errTaken) && !errors.Is(err, ErrUnknownEnv) && !errors.Is(err, ErrClosed):
			e.log.Warn("the environment of a session cannot be used any more", zap.Error(err))
		}
	}
	return Acquired{}, false, nil
}

// ofSession are the environments that r may find its session in, the last leased first; none where its own retry has
// one.
func (m *Manager) ofSession(r Request) []*env {
	var list []*env
	leasedAt := map[*env]time.Time{}
	m.view(func() {
		base := m.configuredLocked(r.Pool)
		if m.closed || base == nil {
			return
		}
		for _, key := range r.pools() {
			own := r
			own.Pool = key
			if p := m.pools[key]; m.leasedToLocked(own) != nil || p != nil && m.inLineLocked(p, own) != nil {
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

// has says whether e was made for who asks the pool base for needs.
func (e *env) has(base *pool, needs builder.Needs) bool {
	switch name := base.cfg.Name; {
	case needs.None():
		return e.pool == name
	case e.pool != name:
		return e.pool == needs.Key(name)
	case !e.runsOn(base, needs):
		return false
	}
	return base.installs(needs.Packages)
}
