package pool

import (
	"cmp"
	"context"
	"time"
)

// Lock is a lock file as it is shown, and its hash.
type Lock struct{ Pool, Kind, Hash, Text string }

// lockedLocked is the newest environment of a pool with a lock file, a ready one first; nil: there is none.
func (m *Manager) lockedLocked(p *pool) (best *env) {
	for _, e := range m.envs {
		if e.pool == p.cfg.Name && e.hash == p.hash && e.manifest.Lock != "" &&
			(e.state == Ready || e.state == Leased) && (best == nil ||
			cmp.Or(trueFirst(e.state == Ready, best.state == Ready), byAge(best, e)) < 0) {
			best = e
		}
	}
	return best
}

// Lock returns the lock file that a pool is built from, and waits for the first. Errors are those of Acquire.
func (m *Manager) Lock(ctx context.Context, name string, wait time.Duration) (l Lock, err error) {
	if err := m.waitOpen(ctx); err != nil {
		return l, err
	}
	for timer := time.NewTimer(wait); ; {
		var e *env
		var change chan struct{}
		m.view(func() {
			p := m.configuredLocked(name)
			if change = m.change; p == nil {
				err = m.unknownPoolLocked(name)
			} else if e = m.lockedLocked(p); e != nil {
				l = Lock{Pool: name, Kind: p.cfg.Spec.Kind, Hash: e.manifest.Lock}
			} else if p.cfg.Size == 0 {
				err = &OffError{name}
			} else if p.fail != nil {
				err = &FailedError{name, p.fail.err, time.Until(p.fail.next)}
			}
		})
		if e != nil {
			text, fault := m.store.ReadLock(e.dir, l.Hash)
			if l.Text = text; fault != nil {
				err = &FailedError{name, fault, -1}
			}
		}
		if e != nil || err != nil {
			return l, err
		}
		select {
		case <-change:
		case <-timer.C:
			return l, &EmptyError{Name: name, Waited: wait, Lock: true}
		case <-ctx.Done():
			return l, ctx.Err()
		case <-m.ctx.Done():
			return l, ErrClosed
		}
	}
}
