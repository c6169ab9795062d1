package pool

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

type added struct {
	packages []builder.Package
	took     time.Duration
}

// halfExtended says whether an extension ended before all was added.
func (e *env) halfExtended() bool {
	return e.extension != nil && e.build != nil && !e.build.check && !e.extension.written
}

// extend does b by extending a ready environment of the base pool instead of building e, in a fraction of the time. It
// returns that one, or nil where none will do; what e needs is resolved then.
func (m *Manager) extend(
	ctx context.Context, x builder.Extender, e *env, b *build,
) (base *env, result made, err error) {
	began := time.Now()
	report := m.reporter(e, b)
	var age time.Duration
	m.view(func() { age = m.cfg.LockAge })
	version, err := x.Prepare(tool.Urgently(ctx), e.spec, e.dir, age, report)
	if err != nil {
		return nil, made{}, err
	}
	base, err = m.takeBase(e, b, version)
	if base == nil {
		return nil, made{}, err
	}
	before := base.manifest.Packages
	built, err := x.Extend(tool.Urgently(ctx), base.spec, base.dir, report)
	if err != nil {
		return base, made{}, err
	}
	base.extension.written = true
	result, err = m.finish(ctx, base, built, m.store.FinishAgain)
	result.added = &added{took: time.Since(began)}
	for _, p := range built.Packages {
		if !slices.Contains(before, p) {
			result.added.packages = append(result.added.packages, p)
		}
	}
	return base, result, err
}

// takeBase moves b from e to a ready environment of the base pool with that Python. It returns nil where there is none.
func (m *Manager) takeBase(e *env, b *build, pythonVersion string) (*env, error) {
	for {
		base := m.reserveBase(e, b, pythonVersion)
		if base == nil {
			return nil, nil
		}
		err := m.store.Intact(base.dir, &base.manifest, base.seen)
		if err == nil {
			// From here on nobody else may have it, even if this daemon is killed.
			err = m.writeLease(base, envdir.LeaseRecord{State: envdir.LeaseReleased})
		}
		m.update(func() {
			switch {
			case err == nil:
				m.syncSoonLocked(base.dir)
				m.moveLocked(e, Removing, "another environment is extended instead")
				delete(m.envs, e.id) // nothing is on disk
				base.purpose, base.build = e.purpose, b
			case envdir.MachineFault(err):
				m.moveLocked(base, Ready, "it could not be extended: "+err.Error())
				m.serveLocked(m.pools[base.pool])
			default:
				base.log.Warn("environment is damaged and will be replaced", zap.Error(err))
				m.moveLocked(base, Removing, "damaged: "+err.Error())
			}
		})
		switch {
		case err == nil:
			return base, nil
		case envdir.MachineFault(err):
			return nil, unwritten(base.id, base.pool, err).Build
		}
	}
}

// startsFrom says whether e can be had by extending o: an environment of the base pool, or of an earlier state of the
// same project.
func (e *env) startsFrom(o *env, base *pool) bool {
	of := e.spec.Project
	if of == nil {
		return o.pool == base.cfg.Name && o.hash == base.hash
	}
	had := o.manifest.Needs
	return baseOf(o.pool) == base.cfg.Name && had != nil && had.Project != nil && had.Project.Path == of.Path &&
		had.Project.Kind == of.Kind
}

// reserveBase begins to extend a ready environment; nil where there is none, or where nobody waits for
// b.
func (m *Manager) reserveBase(e *env, b *build, pythonVersion string) (found *env) {
	m.update(func() {
		p, base := m.pools[e.pool], m.pools[baseOf(e.pool)]
		switch {
		case p == nil || base == nil || e.spec.Base == nil || e.spec.Base.Hash() != base.hash:
			return
		case slices.Index(m.promisedLocked(e.pool), b) >= len(p.waiters):
			return
		}
		for _, o := range m.envs {
			if o.state == Ready && e.startsFrom(o, base) && o.manifest.PythonVersion == pythonVersion &&
				(found == nil || byAge(o, found) < 0) {
				found = o
			}
		}
		if found == nil {
			return
		}
		m.moveLocked(found, Extending, "it is extended for "+e.pool)
		found.extension = &extension{before: found.purpose}
		m.lastGrant = time.Now() // a build in its place would slow this one
	})
	return found
}
