package pool

import (
	"time"

	"go.uber.org/zap"

	"runtimed/pool/builder"
)

const networkHurry = 5 * time.Second // the least pause, where an acquire cuts it short

// failure is why the last builds of a pool failed.
type failure struct {
	err    *builder.Error
	count  int       // in a row; builds that ran side by side count once
	pauses int       // in a row, each longer than the one before
	since  time.Time // of the first
	last   time.Time
	turn   uint64    // builds up to this one started before the last that failed had
	next   time.Time // no build starts before
}

// tryAgain ends the pause after a failure, and has the next ones start small again.
func (p *pool) tryAgain() {
	if p.fail != nil {
		p.fail.next, p.fail.pauses = time.Now(), 0
	}
}

func (m *Manager) hurryLocked(p *pool) {
	if p.fail == nil || p.fail.err.Cause != builder.CauseNetwork {
		return
	}
	if soon := p.fail.last.Add(networkHurry); soon.Before(p.fail.next) {
		p.fail.next = soon
	}
}

// buildFailedLocked records that a build of p failed, and serves what there is in its place.
func (m *Manager) buildFailedLocked(p *pool, b *build, err *builder.Error) {
	now := time.Now()
	m.countLocked(p.cfg.Name, func(c *Counters) { c.Failures[err.Cause]++ })
	if p.derived() {
		err = err.ForNeeds(p.needs.Project != nil)
	}
	if f := p.fail; f == nil || b.turn > f.turn {
		known := f != nil && f.err.Cause == err.Cause && f.err.Message == err.Message
		if f == nil {
			f = &failure{since: now}
			p.fail = f
		}
		f.err, f.last, f.turn = err, now, m.turn
		f.count++
		f.pauses++
		f.next = now.Add(builder.Pause(err.Cause, f.pauses))
		log := m.log.Warn
		if known || err.Cause == builder.CauseProjectChanged { // logged already; status counts on
			log = m.log.Debug
		}
		fields := []zap.Field{zap.String("pool", p.cfg.Name), zap.String("cause", err.Cause),
			zap.String("reason", err.Message), zap.String("output", err.Output)}
		if !p.derived() {
			fields = append(fields, zap.Duration("next_try_in", f.next.Sub(now)))
		}
		log("build failed", fields...)
	}
	for _, o := range m.envs {
		if o.pool == p.cfg.Name && o.build != nil && !o.build.running() && !o.build.check {
			m.cancelBuildLocked(o, "builds fail")
		}
	}
	if err.Cause == builder.CauseDiskFull {
		m.freeSpaceLocked(p)
	}
	m.serveLocked(p) // with an earlier configuration, which is better than none
	m.failHopelessLocked(p)
}
