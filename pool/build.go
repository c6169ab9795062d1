package pool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/proc"
	"runtimed/internal/redact"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

const (
	// The pauses after a failure double from the first to the second; a network comes back sooner than a mistake is mended.
	backoffMin   = 30 * time.Second
	backoffMax   = 5 * time.Minute
	networkMin   = 10 * time.Second
	networkMax   = time.Minute
	networkHurry = 5 * time.Second // at most one try in this long, where an acquire cuts the pause short
)

// failure is why the last builds of a pool failed.
type failure struct {
	err    *builder.Error
	count  int       // in a row; builds that ran side by side count once
	pauses int       // in a row, each longer than the one before
	since  time.Time // of the first
	last   time.Time
	turn   uint64    // builds started up to that one ran beside the last that failed
	next   time.Time // no build begins before
}

// pause is how long to wait the nth time in a row.
func pause(cause string, n int) time.Duration {
	least, most := backoffMin, backoffMax
	if cause == builder.CauseNetwork {
		least, most = networkMin, networkMax
	}
	d := min(most, least<<min(n-1, 10))
	return d*9/10 + rand.N(d/5) // a tenth either way, so that many daemons do not knock at once
}

// tryAgain ends the pause after a failure, and has the pauses after it begin small again.
func (p *pool) tryAgain() {
	if p.fail != nil {
		p.fail.next, p.fail.pauses = time.Now(), 0
	}
}

// hurry cuts a pause after a network failure short, since somebody waits: at most one try in 5 s. Callers hold mu.
func (m *Manager) hurry(p *pool) {
	if p.fail == nil || p.fail.err.Cause != builder.CauseNetwork {
		return
	}
	if soon := p.fail.last.Add(networkHurry); soon.Before(p.fail.next) {
		p.fail.next = soon
	}
}

// build makes one environment, or looks through a finished one after a boot, and records how it went.
func (m *Manager) build(ctx context.Context, e *env) {
	defer e.cancel()
	began := time.Now()
	manifest, seen, err := m.make(ctx, e)
	proc.EndMarked(func(dir string) bool { return dir == e.dir }) // what left its process group
	m.mu.Lock()
	p := m.pools[e.pool]
	var handing []*env
	switch {
	case err == nil && ctx.Err() != context.Canceled:
		e.manifest, e.seen, e.folder = manifest, seen, envdir.FolderOf(e.dir)
		if !e.recheck {
			e.finished = time.Now()
		}
		e.stuck = false
		m.move(e, Ready, "built")
		m.log.Info("environment ready", zap.String("env", e.id), zap.Duration("took", time.Since(began)))
		if p != nil && p.hash == e.hash && !e.recheck {
			if p.fail != nil {
				m.log.Info("builds succeed again", zap.String("pool", e.pool), zap.Int("failures", p.fail.count))
			}
			p.fail, p.keep = nil, true
		}
		if p != nil {
			handing = m.serve(p)
		}
	case m.ctx.Err() != nil: // the next daemon finds the build record
	case ctx.Err() == context.Canceled:
		m.move(e, Removing, "no longer needed")
	case e.recheck && envdir.MachineFault(err):
		if !e.stuck {
			m.log.Warn("environment cannot be looked through for now; trying again now and then", zap.String("env", e.id), zap.Error(err))
		}
		e.started, e.stuck, e.notBefore = false, true, time.Now().Add(troubleEvery)
		e.stage = builder.Stage{Name: builder.StageQueued, Message: "waiting to be looked through: " + redact.Text(err.Error())}
		m.changed()
	case e.recheck:
		m.log.Warn("environment does not work any more and will be replaced", zap.String("env", e.id), zap.Error(err))
		m.move(e, Removing, err.Error())
	default:
		m.move(e, Removing, "its build failed")
		if p != nil && p.hash == e.hash {
			handing = m.failed(p, e, m.asBuildError(ctx, e.stage, err))
		}
	}
	m.lookSoon()
	m.mu.Unlock()
	for _, h := range handing {
		go m.grant(h)
	}
}

// failed records that a build of p failed, and returns what is now handed out in its place. Callers hold mu.
func (m *Manager) failed(p *pool, e *env, err *builder.Error) []*env {
	now := time.Now()
	if p.derived() {
		err = ofNeeds(err)
	}
	if f := p.fail; f == nil || e.turn > f.turn {
		known := f != nil && f.err.Cause == err.Cause && f.err.Message == err.Message
		if f == nil {
			f = &failure{since: now}
			p.fail = f
		}
		f.err, f.last, f.turn = err, now, m.turn
		f.count++
		f.pauses++
		f.next = now.Add(pause(err.Cause, f.pauses))
		log := m.log.Warn
		if known { // said already; status counts on
			log = m.log.Debug
		}
		fields := []zap.Field{zap.String("pool", e.pool), zap.String("cause", err.Cause), zap.String("reason", err.Message), zap.String("output", err.Output)}
		if !p.derived() {
			fields = append(fields, zap.Duration("next_try_in", f.next.Sub(now)))
		}
		log("build failed", fields...)
	}
	for _, o := range m.envs {
		if o.pool == p.cfg.Name && o.state == Warming && !o.started && !o.recheck {
			m.drop(o, "builds fail")
		}
	}
	if err.Cause == builder.CauseDiskFull {
		m.spare(p)
	}
	handing := m.serve(p) // an environment of the earlier configuration is better than none
	m.failHopeless(p)
	m.changed()
	return handing
}

// asBuildError is err as it is shown; last is how far the build had come.
func (m *Manager) asBuildError(ctx context.Context, last builder.Stage, err error) *builder.Error {
	var b *builder.Error
	if !errors.As(err, &b) {
		b = &builder.Error{Cause: builder.CauseOther, Message: err.Error()}
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		b = &builder.Error{
			Cause: builder.CauseTimeout, Message: fmt.Sprintf("the build was not done after %s; the last it did was %s", m.cfg.BuildTimeout, last.Message),
			Hint: "raise build.timeout in the configuration if it needs longer", Output: b.Output,
		}
	}
	shown := *b
	if shown.Hint == "" {
		shown.Hint = builder.ByItself + "; the daemon's log has more: runt daemon logs"
	}
	shown.Message, shown.Output = redact.Text(b.Message), redact.Text(b.Output)
	return &shown
}

// make does the slow part of a build.
func (m *Manager) make(ctx context.Context, e *env) (envdir.Manifest, envdir.FileID, error) {
	b, ok := m.builders[e.spec.Kind]
	if !ok {
		return envdir.Manifest{}, envdir.FileID{}, &builder.Error{
			Cause: builder.CauseToolMissing, Message: fmt.Sprintf("this daemon cannot build environments of the kind %s", e.spec.Kind), Hint: "set the size of the pool to 0",
		}
	}
	if e.recheck {
		m.report(e, builder.Stage{Name: builder.StageVerifying, Message: "looking through it"})
		if err := b.Verify(ctx, e.manifest.Built(), e.dir); err != nil {
			return envdir.Manifest{}, envdir.FileID{}, err
		}
		if e.spoilt {
			if err := m.writeLease(e, envdir.LeaseRecord{State: envdir.LeaseFree}); err != nil {
				return envdir.Manifest{}, envdir.FileID{}, err
			}
			return e.manifest, e.seen, nil
		}
		again := e.manifest
		again.BootID = proc.BootID()
		seen, err := m.store.WriteManifest(e.dir, again)
		if err != nil { // as on a full disk: it works all the same, and is looked through again after the next start
			m.log.Warn("the manifest of an environment cannot be written", zap.String("env", e.id), zap.Error(err))
			return e.manifest, e.seen, nil
		}
		return again, seen, nil
	}
	if err := m.room(e); err != nil {
		return envdir.Manifest{}, envdir.FileID{}, err
	}
	if x, ok := b.(builder.Extender); ok && e.needs != nil {
		extended, err := m.extend(ctx, x, e)
		if err != nil {
			return envdir.Manifest{}, envdir.FileID{}, err
		}
		if extended != nil {
			return m.finish(ctx, e, *extended, m.store.FinishAgain)
		}
	}
	if err := m.store.Begin(e.id, homeOf(e.pool)); err != nil {
		return envdir.Manifest{}, envdir.FileID{}, envdir.DiskError(err)
	}
	built, err := b.Build(ctx, e.spec, e.dir, func(s builder.Stage) { m.report(e, s) })
	if err != nil {
		return envdir.Manifest{}, envdir.FileID{}, err
	}
	return m.finish(ctx, e, built, m.store.Finish)
}

// finish puts the manifest of a built environment on disk, by write.
func (m *Manager) finish(ctx context.Context, e *env, built builder.Built, write func(dir string, made envdir.Manifest) (envdir.FileID, error)) (envdir.Manifest, envdir.FileID, error) {
	made, err := m.describe(ctx, e, built)
	if err != nil {
		return envdir.Manifest{}, envdir.FileID{}, err
	}
	seen, err := write(e.dir, made)
	if err != nil {
		return envdir.Manifest{}, envdir.FileID{}, envdir.DiskError(err)
	}
	return made, seen, nil
}

// describe is the manifest of a finished environment.
func (m *Manager) describe(ctx context.Context, e *env, built builder.Built) (envdir.Manifest, error) {
	list, err := envdir.Sentinels(e.dir, built.Sentinels)
	if err != nil {
		return envdir.Manifest{}, &builder.Error{Cause: builder.CauseVerifyFailed, Message: "the finished environment is not whole: " + err.Error()}
	}
	size := built.SizeBytes
	if size == 0 {
		size = envdir.DiskSize(ctx, e.dir)
	}
	return envdir.Manifest{
		Version: envdir.ManifestVersion, ID: e.id, Pool: homeOf(e.pool), Kind: e.spec.Kind, SpecHash: e.hash, Needs: e.needs,
		CreatedAt: time.Now().UTC(), BootID: proc.BootID(),
		Python: built.Python, PythonVersion: built.PythonVersion, Packages: built.Packages,
		Variables: built.Variables, PathPrepend: built.PathPrepend, SizeBytes: size, Sentinels: list,
	}, nil
}

// report passes a stage on to who the build is promised to.
func (m *Manager) report(e *env, s builder.Stage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.stage = s
	p := m.pools[e.pool]
	if p == nil || len(p.waiters) == 0 {
		return
	}
	if place := slices.Index(m.promised(p), e); 0 <= place && place < len(p.waiters) {
		p.waiters[place].tell(s)
	}
}
