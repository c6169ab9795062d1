package pool

import (
	"context"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/proc"
	"runtimed/pool/builder"
)

const renewAgain = 5 * time.Minute // after a lock file could not be renewed

// renewSoonLocked renews the lock files of the pools when they are old, one at a time and not beside a build.
func (m *Manager) renewSoonLocked(now time.Time) {
	if m.renewing || m.cfg.LockAge <= 0 {
		return
	}
	for _, e := range m.envs {
		if e.build != nil {
			return
		}
	}
	every := min(builder.RenewEvery, m.cfg.LockAge)
	for _, pc := range m.cfg.Pools {
		p, b := m.pools[pc.Name], m.builders[pc.Spec.Kind]
		if pc.Size > 0 && p.fail == nil && now.Sub(p.renewed) >= every && b != nil {
			p.renewed, m.renewing = now, true
			age, timeout, logged := m.cfg.LockAge, m.cfg.BuildTimeout, p.unrenewed
			m.work.Go(func() {
				err := m.renew(b, pc, age, timeout, logged)
				m.update(func() {
					m.renewing = false
					if p.unrenewed = err != nil; p.unrenewed { // when the network is back, that is to be noticed soon
						p.renewed = p.renewed.Add(min(renewAgain, every) - every)
					}
					m.changedLocked()
				})
			})
			return
		}
	}
}

func (m *Manager) renew(b builder.Builder, pc PoolConfig, age, timeout time.Duration, logged bool) error {
	ctx, cancel := context.WithTimeout(m.ctx, timeout)
	defer cancel()
	err := b.Renew(ctx, pc.Spec, age)
	if err != nil && m.ctx.Err() == nil {
		log := m.log.Info
		if logged {
			log = m.log.Debug
		}
		log("the lock file of a pool could not be renewed; the old one stays in use",
			zap.String("pool", pc.Name), zap.Error(err))
	}
	proc.EndMarked(proc.MarkEnv, func(dir string) bool { return dir == m.store.Tools() }) // what left its process group
	return err
}
