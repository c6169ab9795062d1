package pool

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"runtimed/pool/builder"
)

// A set of needs has a pool of its own, which forms when somebody asks for it: one environment is kept ready for who asks again. Its
// key is the name of its home, the configured pool that it has more than, and a hash of the needs. It is no pool of the
// configuration: status does not show it, and it goes when others are asked for more, or it for long not at all.

const maxNeeds = 8 // sets of needs that one is kept ready for

// homeOf is the configured pool of a key; no configured name has a "+".
func homeOf(key string) string {
	home, _, _ := strings.Cut(key, "+")
	return home
}

func (p *pool) derived() bool { return homeOf(p.cfg.Name) != p.cfg.Name }

// size is how many are kept ready while nobody waits.
func (p *pool) size() int {
	if p.derived() && !p.keep {
		return 0
	}
	return p.cfg.Size
}

// named is the pool of that name in the configuration; nil where there is none. Callers hold mu.
func (m *Manager) named(name string) *pool {
	if p := m.pools[name]; p != nil && !p.derived() {
		return p
	}
	return nil
}

// follow makes of p what its needs and its home's configuration ask for.
func (p *pool) follow(home *pool) {
	spec, like := home.cfg.Spec, home.cfg.Spec
	spec.Packages = slices.Concat(spec.Packages, p.needs.Packages)
	spec.Python, spec.RequiresPython = p.needs.Python, p.needs.RequiresPython
	if spec.Python == "" {
		spec.Python = like.Python
	}
	spec.Base = &like
	p.cfg.Size, p.cfg.Spec, p.cfg.MaxAge = 1, spec, home.cfg.MaxAge
	p.hash, p.fail = spec.Hash(), nil
}

// derive has a pool for needs go on under a new configuration, unless its home is gone or off. Callers hold mu.
func (m *Manager) derive(p *pool) {
	home := m.pools[homeOf(p.cfg.Name)]
	switch {
	case home == nil:
		m.failWaiters(p, func(*waiter) error { return m.unknown(homeOf(p.cfg.Name)) })
	case home.cfg.Size == 0:
		m.failWaiters(p, func(*waiter) error { return &OffError{home.cfg.Name} })
	case home.cfg.Spec.Kind != builder.KindUV:
		m.failWaiters(p, func(*waiter) error { return &NeedsError{home.cfg.Name, home.cfg.Spec.Kind} })
	default:
		p.follow(home)
		m.pools[p.cfg.Name] = p
	}
}

// poolFor is the pool that has environments for needs: home itself where it gives all of that. Callers hold mu.
func (m *Manager) derivedFor(home *pool, needs builder.Needs, now time.Time) (*pool, error) {
	if home.cfg.Spec.Kind != builder.KindUV {
		return nil, &NeedsError{home.cfg.Name, home.cfg.Spec.Kind}
	}
	if m.gives(home, needs) {
		return home, nil
	}
	p := m.pools[needs.Key(home.cfg.Name)]
	if p == nil {
		if home.cfg.Size == 0 {
			return nil, &OffError{home.cfg.Name}
		}
		p = m.form(home, needs)
	}
	p.used = now
	if p.fail != nil && m.warming(p.cfg.Name) == 0 && m.pick(p) == nil {
		p.fail = nil // who asks again wants it tried again
	}
	return p, nil
}

// form makes the pool for needs beside home. Callers hold mu.
func (m *Manager) form(home *pool, needs builder.Needs) *pool {
	p := &pool{needs: needs, cfg: PoolConfig{Name: needs.Key(home.cfg.Name)}}
	p.follow(home)
	m.pools[p.cfg.Name] = p
	return p
}

// gives says whether what home has ready is all that needs ask for. Callers hold mu.
func (m *Manager) gives(home *pool, needs builder.Needs) bool {
	for _, r := range needs.Packages {
		if !slices.Contains(home.cfg.Spec.Packages, r) {
			return false
		}
	}
	if needs.RequiresPython == "" && (needs.Python == "" || needs.Python == home.cfg.Spec.Python) {
		return true
	}
	e := m.pick(home)
	return e != nil && e.runsOn(home, needs)
}

// runsOn says whether an environment of home has the Python that needs ask for.
func (e *env) runsOn(home *pool, needs builder.Needs) bool {
	version := e.manifest.PythonVersion
	if needs.Python == home.cfg.Spec.Python {
		return builder.Satisfies(version, needs.RequiresPython)
	}
	return needs.Python == "" || !filepath.IsAbs(needs.Python) && builder.Satisfies(version, needs.Python)
}

// places are the keys of the pools that may serve r: its home, and the one for its needs.
func (r Request) places() []string {
	if r.Needs.None() {
		return []string{r.Pool}
	}
	return []string{r.Pool, r.Needs.Key(r.Pool)}
}

// asked is where the owner has or awaits already what it asks home for with the same key: the lease, or the pool in which it stands in
// line. What home had ready then decided between home and a pool for needs, and it may have something else ready now. Callers hold mu.
func (m *Manager) asked(home *pool, r Request) (leased *env, line *pool) {
	if r.Key == "" {
		return nil, nil
	}
	for _, key := range r.places() {
		own, p := r, m.pools[key]
		own.Pool = key
		if e := m.leasedTo(own); e != nil && e.has(home, r.Needs) {
			return e, p
		}
		if w := m.inLine(p, own); p != nil && w != nil && w.Needs.Key("") == r.Needs.Key("") {
			return nil, p
		}
	}
	return nil, nil
}

// forNeeds are the pools for needs, the most lately asked for first. Callers hold mu.
func (m *Manager) derivedPools() []*pool {
	var list []*pool
	for _, p := range m.pools {
		if p.derived() {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b *pool) int { return b.used.Compare(a.used) })
	return list
}

// makeRoom forgets the pools for needs that nobody asked for the longest, so that as many are left as are kept. One that has made
// nothing yet pushes out none that has. Callers hold mu.
func (m *Manager) makeRoom() {
	kept := slices.DeleteFunc(m.derivedPools(), func(p *pool) bool { return !p.keep })
	for n := len(kept); n > maxNeeds && len(kept) > 0; kept = kept[:len(kept)-1] {
		if m.forget(kept[len(kept)-1], "others were asked for since") {
			n--
		}
	}
}

// spare forgets the pool for needs, other than p, that nobody asked for the longest: what is kept on the chance that somebody asks must
// not keep a pool from being filled. Callers hold mu.
func (m *Manager) spare(p *pool) {
	for _, o := range slices.Backward(m.derivedPools()) {
		if o != p && o.keep && m.forget(o, "the disk is short of room") {
			return
		}
	}
}

// forget ends a pool for needs, unless somebody waits for it. Callers hold mu.
func (m *Manager) forget(p *pool, why string) bool {
	if len(p.waiters) > 0 {
		return false
	}
	for _, e := range m.envs {
		if e.pool == p.cfg.Name && e.granting != nil {
			return false
		}
	}
	delete(m.pools, p.cfg.Name)
	for _, e := range m.envs {
		switch {
		case e.pool != p.cfg.Name:
		case e.state == Ready:
			m.move(e, Removing, why)
		case e.state == Warming:
			m.drop(e, why)
		}
	}
	return true
}

// endUnwanted ends the builds of p that were begun for those who waited, now that nobody does. Callers hold mu.
func (m *Manager) endUnwanted(p *pool) {
	if len(p.waiters) > 0 {
		return
	}
	for _, e := range m.envs {
		if e.pool == p.cfg.Name && e.state == Warming && e.started && e.urgent() {
			m.drop(e, "nobody waits for it any more")
		}
	}
}

// planNeeds is plan for a pool for needs: it goes when nobody has asked for long, or when nothing was built for it and nobody waits to
// see that done. Callers hold mu.
func (m *Manager) planDerived(p *pool, now time.Time) (next time.Time) {
	m.endUnwanted(p)
	if (p.fail != nil || !p.keep) && m.warming(p.cfg.Name) == 0 && m.pick(p) == nil && m.forget(p, "nothing was built for it") {
		return next
	}
	if p.cfg.MaxAge > 0 {
		next = p.used.Add(p.cfg.MaxAge)
		switch {
		case now.Before(next):
		case m.forget(p, "nobody asked for it for long"):
			return time.Time{}
		default:
			next = time.Time{} // somebody waits still; whatever ends that has it looked at again
		}
	}
	if p.fail != nil && len(p.waiters) == 0 {
		return next
	}
	return earlier(m.plan(p, now), next)
}

// reform makes the pools again that ready environments of an earlier daemon were kept for. Callers hold mu.
func (m *Manager) reform(found map[string]*env) {
	var kept []*env
	for _, e := range found {
		if e.manifest.Needs != nil && (e.state == Ready || e.state == Warming) {
			kept = append(kept, e)
		}
	}
	slices.SortFunc(kept, func(a, b *env) int { return byAge(b, a) })
	for _, e := range kept {
		home := m.pools[homeOf(e.pool)]
		switch {
		case m.pools[e.pool] != nil || len(m.derivedPools()) >= maxNeeds:
		case home == nil || home.cfg.Size == 0 || home.cfg.Spec.Kind != builder.KindUV:
		default:
			p := m.form(home, *e.manifest.Needs)
			p.keep, p.used = true, e.manifest.CreatedAt
			if now := time.Now(); p.used.After(now) { // the clock was ahead
				p.used = now
			}
		}
	}
}
