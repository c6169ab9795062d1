package pool

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"runtimed/pool/builder"
)

// A pool is derived from a configured one, its base, when somebody asks that for more. It keeps one environment ready
// for whoever asks for the same again, is not shown, and goes when nobody has for long. Its key is the name of the base
// and a hash of the needs.

const maxDerived = 8 // derived pools that keep an environment ready, besides those of projects

// baseOf is the name of the base pool of a key; no configured name has a "+".
func baseOf(key string) string {
	base, _, _ := strings.Cut(key, "+")
	return base
}

func (p *pool) derived() bool { return p.needs != nil }

func (m *Manager) deriveLocked(base *pool, needs builder.Needs) *pool {
	p := &pool{needs: &needs, cfg: PoolConfig{Name: needs.Key(base.cfg.Name)}}
	p.follow(base)
	m.pools[p.cfg.Name] = p
	return p
}

func (p *pool) follow(base *pool) {
	spec, baseSpec := base.cfg.Spec, base.cfg.Spec
	spec.Packages = slices.Concat(spec.Packages, p.needs.Packages)
	spec.Python, spec.RequiresPython = p.needs.Python, p.needs.RequiresPython
	p.cfg.Standby = 0
	if spec.Project = p.needs.Project; spec.Project != nil {
		spec.Packages, p.cfg.Standby = p.needs.Packages, min(1, base.cfg.Standby)
		spec.Lock, spec.Locked, spec.Unlocked = "", nil, "" // the project says itself what it has
		if spec.Kind == builder.KindUV && spec.Python == "" {
			spec.PoolPython = baseSpec.Python
		}
	} else if spec.Python == "" {
		spec.Python = baseSpec.Python
	}
	spec.Base, spec.Preload, spec.Hashed = &baseSpec, nil, p.needs.Hashed
	p.cfg.Size, p.cfg.Spec, p.cfg.MaxAge = 1, spec, base.cfg.MaxAge
	if spec.Project != nil && spec.Project.Locked() {
		p.cfg.MaxAge = 0 // what is locked does not grow old
	}
	p.hash, p.fail = spec.Hash(), nil
}

// deriveFromLocked is the base pool of a key, or why nothing is derived from that.
func (m *Manager) deriveFromLocked(key string) (*pool, error) {
	base := m.pools[baseOf(key)]
	switch {
	case base == nil:
		return nil, m.unknownPoolLocked(baseOf(key))
	case base.cfg.Size == 0:
		return nil, &OffError{base.cfg.Name}
	}
	return base, nil
}

// rederiveLocked keeps a derived pool under a new configuration, unless that has no base for it.
func (m *Manager) rederiveLocked(p *pool) {
	base, err := m.deriveFromLocked(p.cfg.Name)
	if err == nil && p.needs.Project != nil {
		err = base.suits(*p.needs)
	}
	if err != nil {
		m.failWaitersLocked(p, func(*waiter) error { return err })
		return
	}
	p.follow(base)
	m.pools[p.cfg.Name] = p
}

// derivedForLocked is the pool for needs, which is base where that has all of it.
func (m *Manager) derivedForLocked(base *pool, needs builder.Needs, now time.Time) (*pool, error) {
	if err := base.suits(needs); err != nil {
		return nil, err
	}
	if m.hasAllLocked(base, needs) {
		return base, nil
	}
	key := needs.Key(base.cfg.Name)
	p := m.pools[key]
	if p == nil {
		if _, err := m.deriveFromLocked(key); err != nil {
			return nil, err
		}
		p = m.deriveLocked(base, needs)
	}
	p.used = now
	if p.fail != nil && m.warmingLocked(p.cfg.Name) == 0 && m.pickLocked(p, false) == nil {
		p.fail = nil // who asks again wants it tried again
	}
	return p, nil
}

// suits says why nothing can be made in a pool for needs.
func (p *pool) suits(needs builder.Needs) error {
	of := needs.Project
	if of != nil && of.Conda() != (p.cfg.Spec.Kind == builder.KindConda) {
		return &KindError{p.cfg.Name, p.cfg.Spec.Kind, of.File}
	}
	if p.cfg.Spec.Kind == builder.KindConda && filepath.IsAbs(needs.Python) {
		return &KindError{p.cfg.Name, p.cfg.Spec.Kind, needs.Python}
	}
	return nil
}

func (m *Manager) hasAllLocked(base *pool, needs builder.Needs) bool {
	if needs.Project != nil || len(needs.Hashed) > 0 || !base.installs(needs.Packages) {
		return false
	}
	if needs.RequiresPython == "" && (needs.Python == "" || needs.Python == base.cfg.Spec.Python) {
		return true
	}
	e := m.pickLocked(base, false)
	return e != nil && e.runsOn(base, needs)
}

func (p *pool) installs(packages []string) bool {
	return !slices.ContainsFunc(packages, func(r string) bool { return !slices.Contains(p.cfg.Spec.Packages, r) })
}

// runsOn says whether an environment of base has the Python that needs ask for.
func (e *env) runsOn(base *pool, needs builder.Needs) bool {
	version := e.manifest.PythonVersion
	if needs.Python == base.cfg.Spec.Python {
		return builder.Satisfies(version, needs.RequiresPython)
	}
	return needs.Python == "" || !filepath.IsAbs(needs.Python) && builder.Satisfies(version, needs.Python)
}

// derivedLocked are the derived pools, the most lately asked for first.
func (m *Manager) derivedLocked() []*pool {
	var list []*pool
	for _, p := range m.pools {
		if p.derived() {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b *pool) int { return b.used.Compare(a.used) })
	return list
}

// unclaimedTime is how long what was built for a project stays for whoever gave up waiting.
const unclaimedTime = 2 * time.Minute

// limitDerivedLocked forgets the derived pools that were asked for the longest ago, and earlier states of projects. One
// that keeps nothing ready does not count.
func (m *Manager) limitDerivedLocked(now time.Time) {
	left := map[bool]int{false: maxDerived, true: m.cfg.Projects} // by whether it is a project's
	seen := map[string]bool{}
	for _, p := range m.derivedLocked() {
		if !p.keep || m.unclaimedLocked(p, now) {
			continue
		}
		of, state := p.needs.Project != nil, p.needs.State(baseOf(p.cfg.Name))
		why := "others were asked for later"
		if of && seen[state] {
			why = "its project was changed"
		}
		if left[of] > 0 && !seen[state] || !m.forgetLocked(p, why) {
			left[of]--
			seen[state] = of
		}
	}
}

// unclaimedLocked says whether something was built for a project not long ago, and nobody has had it.
func (m *Manager) unclaimedLocked(p *pool, now time.Time) bool {
	for _, e := range m.envs {
		if p.needs.Project != nil && !p.claimed && e.pool == p.cfg.Name && e.state == Ready &&
			now.Sub(e.finished) < unclaimedTime {
			return true
		}
	}
	return false
}

// freeSpaceLocked forgets the derived pool, other than p, that was asked for the longest ago.
func (m *Manager) freeSpaceLocked(p *pool) {
	for _, o := range slices.Backward(m.derivedLocked()) {
		if o != p && o.keep && m.forgetLocked(o, "the disk is short of space") {
			return
		}
	}
}

func (m *Manager) forgetLocked(p *pool, why string) bool {
	if len(p.waiters) > 0 {
		return false
	}
	for _, e := range m.envs {
		if e.pool == p.cfg.Name && e.tenancy.waiter != nil {
			return false
		}
	}
	delete(m.pools, p.cfg.Name)
	for _, e := range m.envs {
		switch {
		case e.pool != p.cfg.Name:
		case e.state == Ready:
			m.moveLocked(e, Removing, why)
		case e.build != nil:
			m.cancelBuildLocked(e, why)
		}
	}
	return true
}

// planDerivedLocked is planLocked for a derived pool. Builds that were started for somebody end when nobody waits, but
// those of projects, which are asked for again; the pool goes when nobody has asked for long, or nothing was built
// for it.
func (m *Manager) planDerivedLocked(p *pool, now time.Time) (next time.Time) {
	for _, e := range m.envs {
		if e.pool == p.cfg.Name && e.build != nil && e.build.urgent() && len(p.waiters) == 0 &&
			p.needs.Project == nil {
			m.cancelBuildLocked(e, "nobody waits for it any more")
		}
	}
	unbuilt := (p.fail != nil || !p.keep) && m.warmingLocked(p.cfg.Name) == 0 && m.pickLocked(p, false) == nil
	if unbuilt && m.forgetLocked(p, "nothing was built for it") {
		return next
	}
	if p.cfg.MaxAge > 0 && p.needs.Project == nil {
		next = p.used.Add(p.cfg.MaxAge)
		switch {
		case now.Before(next):
		case m.forgetLocked(p, "nobody asked for it for a long time"):
			return time.Time{}
		default:
			next = time.Time{} // until somebody stops waiting
		}
	}
	if p.fail != nil && len(p.waiters) == 0 {
		return next
	}
	return earlier(m.planLocked(p, now), next)
}

func (m *Manager) restoreDerivedLocked(kept []*env) {
	slices.SortFunc(kept, func(a, b *env) int { return byAge(b, a) })
	for _, e := range kept {
		base, err := m.deriveFromLocked(e.pool)
		if err != nil || m.pools[e.pool] != nil || base.suits(*e.manifest.Needs) != nil {
			continue // where there are too many, limitDerivedLocked sees to it
		}
		p := m.deriveLocked(base, *e.manifest.Needs)
		p.keep, p.used = true, e.manifest.CreatedAt
		if now := time.Now(); p.used.After(now) { // the clock was ahead
			p.used = now
		}
	}
}
