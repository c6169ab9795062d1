package pool

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/proc"
	"runtimed/internal/redact"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

type made struct {
	manifest envdir.Manifest
	seen     envdir.FileID
	added    *added
}

// runBuild runs b, and moves its environment by the result.
func (m *Manager) runBuild(ctx context.Context, e *env, b *build) {
	cancel := b.cancel
	defer cancel()
	began := time.Now()
	var kept *builder.Kept
	building := ctx
	if b.keep {
		kept = &builder.Kept{}
		building = builder.Keep(ctx, kept)
	}
	e, result, err := m.make(building, e, b)
	proc.EndMarked(proc.MarkEnv, func(dir string) bool { return dir == e.dir }) // what left its process group
	standby, standbyErr := m.standbyFrom(e, kept, err)
	m.update(func() {
		m.changedLocked()
		canceled := ctx.Err() == context.Canceled // not before: a flush may just have ended it
		p, hash := m.pools[e.pool], e.hash
		current := p != nil && p.hash == hash
		switch {
		case err == nil && !canceled:
			m.builtLocked(e, b, result, time.Since(began))
			if standbyErr == nil {
				m.standLocked(e, standby)
				standby = nil
			}
			if current && !b.check {
				if p.fail != nil {
					m.log.Info("builds succeed again", zap.String("pool", e.pool), zap.Int("failures", p.fail.count))
				}
				p.fail, p.keep, p.lock = nil, true, result.manifest.Lock
			}
			m.serveLocked(p)
		case m.ctx.Err() != nil: // the next daemon finds the build record
		case canceled && !e.halfExtended():
			m.moveLocked(e, Removing, "no longer needed")
		case b.check && envdir.MachineFault(err):
			e.warnOnceLocked("environment cannot be checked at the moment; trying again now and then", err)
			e.build = &build{check: true, stuck: true, notBefore: time.Now().Add(faultEvery),
				stage: waiting("to be checked: " + redact.Text(err.Error()))}
		case b.check:
			e.log.Warn("environment no longer works and will be replaced", zap.Error(err))
			m.moveLocked(e, Removing, err.Error())
		case e.halfExtended():
			e.purpose = e.extension.before
			e.build = &build{check: true, stage: waiting("to be checked")}
		default:
			m.moveLocked(e, Removing, "its build failed")
		}
		m.dropLocked(standby)
		if err != nil && !canceled && !b.check && current && m.ctx.Err() == nil {
			m.buildFailedLocked(p, b, m.asBuildError(ctx, b.stage, err))
		}
	})
}

func (m *Manager) builtLocked(e *env, b *build, result made, took time.Duration) {
	e.manifest, e.seen, e.folder = result.manifest, result.seen, envdir.FolderOf(e.dir)
	if !b.check {
		e.finished, e.added, e.measured = time.Now(), result.added, measured{}
		m.countLocked(e.pool, func(c *Counters) { c.Builds++ })
	}
	m.moveLocked(e, Ready, "built")
	e.log.Info("environment ready", zap.Duration("took", took))
}

// make does the slow part of a build. It returns the environment that b ended with: e, or one extended instead.
func (m *Manager) make(ctx context.Context, e *env, b *build) (*env, made, error) {
	with, ok := m.builders[e.spec.Kind]
	if !ok {
		return e, made{}, builder.Errorf(builder.CauseToolMissing, "set the size of the pool to 0",
			"this daemon cannot build environments of the kind %s", e.spec.Kind)
	}
	if b.check {
		result, err := m.check(ctx, with, e, b)
		return e, result, err
	}
	if err := m.room(b); err != nil {
		return e, made{}, err
	}
	if x, ok := with.(builder.Extender); ok && e.needs != nil {
		if base, result, err := m.extend(ctx, x, e, b); base != nil || err != nil {
			return cmp.Or(base, e), result, err
		}
	}
	if err := m.store.Begin(e.id, baseOf(e.pool)); err != nil {
		return e, made{}, envdir.DiskError(err)
	}
	built, err := with.Build(ctx, e.spec, e.dir, m.reporter(e, b))
	if err != nil {
		return e, made{}, err
	}
	result, err := m.finish(ctx, e, built, m.store.Finish)
	return e, result, err
}

func (m *Manager) check(ctx context.Context, with builder.Builder, e *env, b *build) (made, error) {
	m.reporter(e, b)(builder.Stage{Name: builder.StageVerifying, Message: "checking it"})
	again, err := e.manifest.Renew(e.dir)
	if err == nil {
		err = with.Verify(ctx, again.Built(), e.dir)
	}
	if err != nil {
		return made{}, err
	}
	result := made{manifest: again, seen: e.seen}
	if e.extension != nil { // its lease record says that it is not free
		return result, m.writeLease(e, envdir.LeaseRecord{State: envdir.LeaseFree})
	}
	if seen, err := m.store.WriteManifest(e.dir, again); err == nil {
		result.seen = seen
	} else { // the disk may be full; it works, and is checked again after the next start
		e.log.Warn("the manifest of an environment cannot be written", zap.Error(err))
	}
	return result, nil
}

func (m *Manager) finish(
	ctx context.Context, e *env, built builder.Built, write func(dir string, m envdir.Manifest) (envdir.FileID, error),
) (made, error) {
	list, err := envdir.Sentinels(e.dir, built.Sentinels)
	if err != nil {
		return made{}, builder.Errorf(builder.CauseVerifyFailed, "", "the finished environment is not whole: %s", err)
	}
	size := built.SizeBytes
	if size == 0 {
		size = envdir.DiskSize(ctx, e.dir)
	}
	manifest := envdir.Manifest{
		Version: envdir.ManifestVersion, ID: e.id, Pool: baseOf(e.pool), Kind: e.spec.Kind, SpecHash: e.hash,
		Needs: e.needs, CreatedAt: time.Now().UTC(), BootID: proc.BootID(),
		Python: built.Python, PythonVersion: built.PythonVersion, Packages: built.Packages,
		Variables: built.Variables, PathPrepend: built.PathPrepend, SizeBytes: size, Sentinels: list, Lock: built.Lock,
	}
	seen, err := write(e.dir, manifest)
	if err != nil {
		return made{}, envdir.DiskError(err)
	}
	return made{manifest: manifest, seen: seen}, nil
}

func (m *Manager) reporter(e *env, b *build) func(builder.Stage) {
	key := e.pool
	return func(s builder.Stage) {
		m.view(func() {
			b.stage = s
			place, p := slices.Index(m.promisedLocked(key), b), m.pools[key]
			if p != nil && 0 <= place && place < len(p.waiters) {
				p.waiters[place].reportLocked(s)
			}
		})
	}
}

// asBuildError is err as it is shown; last is the stage that the build was in.
func (m *Manager) asBuildError(ctx context.Context, last builder.Stage, err error) *builder.Error {
	var b *builder.Error
	if !errors.As(err, &b) {
		b = &builder.Error{Cause: builder.CauseOther, Message: err.Error()}
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		b = builder.Errorf(builder.CauseTimeout, "raise build.timeout in the configuration if it needs longer",
			"the build was not done after %s; its last step was %s", m.cfg.BuildTimeout, last.Message).Saying(b.Output)
	}
	shown := *b
	if shown.Hint == "" {
		shown.Hint = builder.ByItself + "; the daemon's log has more: runt daemon logs"
	}
	shown.Message, shown.Output = redact.Text(b.Message), redact.Text(b.Output)
	return &shown
}
