package pool

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/proc"
	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// added is what a build put into an environment that was ready.
type added struct {
	packages []builder.Package
	took     time.Duration
}

// extend makes e of a ready environment of its home pool, where one will do and somebody waits: that takes a fraction of a build. The
// result is nil where none will; then nothing has happened but that what e needs is resolved.
func (m *Manager) extend(ctx context.Context, b builder.Extender, e *env) (*builder.Built, error) {
	began := time.Now()
	report := func(s builder.Stage) { m.report(e, s) }
	m.mu.Lock()
	age := m.cfg.LockAge
	m.mu.Unlock()
	version, err := b.Prepare(tool.Urgently(ctx), e.spec, e.dir, age, report)
	if err != nil {
		return nil, err
	}
	planned := e.placement()
	var base *env
	for base = m.takeOver(e, version); base != nil; base = m.takeOver(e, version) {
		err := m.store.Intact(base.dir, &base.manifest, base.seen)
		if err == nil {
			// From here on nobody else may have it, whatever happens to this daemon.
			if err = m.writeLease(base, envdir.LeaseRecord{State: envdir.LeaseReleased}); err == nil {
				m.mu.Lock()
				m.syncSoon(base.dir)
				m.mu.Unlock()
				break
			}
		}
		if envdir.MachineFault(err) {
			m.handBack(e, planned, base, func() {})
			return nil, unwritten(base.id, base.pool, err).Build
		}
		m.log.Warn("environment is damaged and will be replaced", zap.String("env", base.id), zap.Error(err))
		m.handBack(e, planned, base, func() { m.move(base, Removing, "damaged: "+err.Error()) })
	}
	if base == nil {
		return nil, nil
	}
	built, err := b.Extend(tool.Urgently(ctx), e.spec, e.dir, report)
	if err != nil {
		proc.EndMarked(func(dir string) bool { return dir == base.dir }) // or they could go on writing
		m.handBack(e, planned, base.doubtful(), func() {})
		return nil, err
	}
	e.more = &added{took: time.Since(began)}
	for _, p := range built.Packages {
		if !slices.Contains(base.manifest.Packages, p) {
			e.more.packages = append(e.more.packages, p)
		}
	}
	return &built, nil
}

// placement is where an environment is, and as what.
type placement struct {
	id, dir  string
	manifest envdir.Manifest
	seen     envdir.FileID
	folder   *envdir.FolderID
}

func (e *env) placement() placement { return placement{e.id, e.dir, e.manifest, e.seen, e.folder} }

// takeOver gives e the place of a ready environment of its home pool, with that Python, and returns the latter, which is no longer
// among the environments; nil where there is none, or nobody waits for e: what is only to be kept ready takes none from others.
func (m *Manager) takeOver(e *env, pythonVersion string) *env {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, home := m.pools[e.pool], m.pools[homeOf(e.pool)]
	if p == nil || home == nil || e.spec.Base == nil || e.spec.Base.Hash() != home.hash || slices.Index(m.promised(p), e) >= len(p.waiters) {
		return nil
	}
	var base *env
	for _, o := range m.envs {
		if o.pool != home.cfg.Name || o.state != Ready || o.hash != home.hash || o.manifest.PythonVersion != pythonVersion {
			continue
		}
		if base == nil || byAge(o, base) < 0 {
			base = o
		}
	}
	if base == nil {
		return nil
	}
	m.log.Debug("environment is extended", zap.String("env", base.id), zap.String("for", e.pool))
	m.swap(e, base.placement(), nil)
	m.lastGet = time.Now() // a build in its place would slow this one
	m.lookSoon()
	return base
}

// handBack gives base its place back, and e the one that was planned for it. then is called before anybody else can see base.
func (m *Manager) handBack(e *env, planned placement, base *env, then func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.swap(e, planned, base)
	then()
	m.lookSoon()
}

// swap moves e to another place; who then has its old one is in. Callers hold mu.
func (m *Manager) swap(e *env, to placement, in *env) {
	delete(m.envs, e.id)
	e.id, e.dir, e.manifest, e.seen, e.folder = to.id, to.dir, to.manifest, to.seen, to.folder
	m.envs[e.id] = e
	if in != nil {
		m.envs[in.id] = in
	}
	m.changed()
}

// doubtful is the environment of which nobody knows what a build left: ready again if it turns out to be as it was.
func (e *env) doubtful() *env {
	return &env{
		id: e.id, pool: e.pool, spec: e.spec, hash: e.hash, dir: e.dir, state: Warming, since: time.Now(), recheck: true, spoilt: true,
		manifest: e.manifest, seen: e.seen, folder: e.folder, stage: builder.Stage{Name: builder.StageQueued, Message: "waiting to be looked through"},
	}
}
