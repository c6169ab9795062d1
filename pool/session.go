package pool

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap"

	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// errTaken: somebody else was faster, or the lease is of another session by now.
var errTaken = errors.New("the session has a living owner")

// checkTexts refuses what the lease record might have no room for. Each byte of what passes takes at most two there, however it is
// escaped; a control character, or what is no UTF-8, would take six.
func (r Request) checkTexts() error {
	for name, text := range map[string]string{"label": r.Label, "key": r.Key, "session": r.Session} {
		switch {
		case len(text) > maxText:
			return fmt.Errorf("the %s is longer than %d bytes", name, maxText)
		case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
			return fmt.Errorf("the %s is no plain text", name)
		}
	}
	return nil
}

// lease is the one that r gets. Without a session nobody can come back for it, so it does not linger.
func (r Request) lease() *envdir.Lease {
	l := &envdir.Lease{Owner: r.Owner, Label: r.Label, Key: r.Key, LeasedAt: time.Now().UTC(), Session: r.Session}
	if r.Session != "" {
		l.LingerMS = max(0, r.Linger.Milliseconds())
	}
	return l
}

// resume gives r the environment that its session had before, if its owner has ended; ok is false where there is none. Callers do
// not hold mu.
func (m *Manager) resume(r Request, began time.Time) (got Acquired, ok bool, err error) {
	if r.Session == "" {
		return Acquired{}, false, nil
	}
	for _, e := range m.ofSession(r) {
		var lease *envdir.Lease
		err := m.changeLease(e.id, func(l *envdir.Lease) (envdir.LeaseRecord, error) {
			if l.Session != r.Session || m.alive(l.Owner) { // whoever changes a lease holds e.record, so only one gets it
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
			e.lease = lease
			e.replies++ // it was used: where this reply never leaves, it is not taken back as if it were new
			m.watchOwner(e)
			m.changed()
			p := m.pools[e.pool]
			got = Acquired{Env: e.info(), Stale: p != nil && e.hash != p.hash, Resumed: true, Waited: time.Since(began)}
		})
		switch {
		case err == nil:
			m.log.Info("a session goes on in its environment", zap.String("env", e.id), zap.Int("owner_pid", r.Owner.PID))
			return got, true, nil
		case errors.As(err, new(*FailedError)): // it is there, and another one would not be what was asked for
			return Acquired{}, false, err
		case !errors.Is(err, errTaken) && !errors.Is(err, ErrUnknownEnv) && !errors.Is(err, ErrClosed):
			m.log.Warn("the environment of a session cannot be used any more", zap.String("env", e.id), zap.Error(err))
		}
	}
	return Acquired{}, false, nil
}

// ofSession are the environments that r may find its session in, the last leased first; none where its own retry has one already.
func (m *Manager) ofSession(r Request) []*env {
	m.mu.Lock()
	defer m.mu.Unlock()
	home := m.named(r.Pool)
	if m.closed || home == nil {
		return nil
	}
	for _, key := range r.places() {
		own := r
		own.Pool = key
		if p := m.pools[key]; m.leasedTo(own) != nil || p != nil && m.inLine(p, own) != nil {
			return nil
		}
	}
	var list []*env
	at := map[*env]time.Time{}
	for _, e := range m.envs {
		if e.lease != nil && e.lease.Session == r.Session && e.has(home, r.Needs) {
			list, at[e] = append(list, e), e.lease.LeasedAt
		}
	}
	slices.SortFunc(list, func(a, b *env) int { return at[b].Compare(at[a]) })
	return list
}

// has says whether e was made for who asks home for needs. Callers hold mu.
func (e *env) has(home *pool, needs builder.Needs) bool {
	switch name := home.cfg.Name; {
	case needs.None():
		return e.pool == name
	case e.pool != name:
		return e.pool == needs.Key(name)
	case !e.runsOn(home, needs):
		return false
	}
	return !slices.ContainsFunc(needs.Packages, func(r string) bool { return !slices.Contains(home.cfg.Spec.Packages, r) })
}

// linger begins the time for which a lease stays whose owner was just found to have ended; false where there is none, or it is over.
// It counts from this daemon's first look, so that an absence of the daemon cuts nothing short.
func (m *Manager) linger(e *env, lease *envdir.Lease, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if lease.LingerMS <= 0 || e.orphan == lease {
		return false
	}
	e.orphan, e.orphanedAt = lease, now
	return true
}

// lingersUntil is when the lease of e has stayed long enough without its owner; zero where its owner is not known to have ended.
func (e *env) lingersUntil() time.Time {
	if e.lease == nil || e.orphan != e.lease {
		return time.Time{}
	}
	return e.orphanedAt.Add(e.lease.Linger())
}
