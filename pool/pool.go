package pool

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/redact"
	"runtimed/pool/builder"
)

// Config is what a Manager keeps. Dir is absolute and does not change; the rest may, by Reconfigure.
type Config struct {
	Dir          string // environments, lock files and tools; made with mode 0700 where it does not exist
	Parallel     int    // uv builds at once, at least 1; beside them one conda build
	BuildTimeout time.Duration
	MinFree      int64 // bytes: no build with less free space
	MaxSize      int64 // bytes, of all environments together; 0: no limit
	LockAge      time.Duration
	Pools        []PoolConfig // in the order in which they are shown
}

// PoolConfig is one named pool.
type PoolConfig struct {
	Name   string
	Size   int // environments kept ready; 0 turns it off
	Spec   builder.Spec
	MaxAge time.Duration // a ready environment is replaced after this long
}

// pool is one configured pool, or one derived from it; see derived.go. What it has is counted from the environments.
type pool struct {
	cfg       PoolConfig
	hash      string
	shown     []string  // the packages, without passwords
	waiters   []*waiter // first come first
	fail      *failure  // nil while builds succeed
	renewed   time.Time // when its lock file was last tried to be renewed
	unrenewed bool      // that failed

	// Of a derived pool only.
	needs *builder.Needs
	keep  bool      // one was built, so one is kept ready
	used  time.Time // last asked for
}

// size is how many are kept ready while nobody waits.
func (p *pool) size() int {
	if p.derived() && !p.keep {
		return 0
	}
	return p.cfg.Size
}

// serves says whether e may be granted: it has the present configuration, or an earlier one while builds of this one
// fail.
func (p *pool) serves(e *env) bool {
	return e.state == Ready && (e.hash == p.hash || p.fail != nil)
}

// due says whether a ready environment is to be replaced: it is too old, or of an earlier configuration.
func (p *pool) due(e *env, now time.Time) bool {
	return e.hash != p.hash || p.cfg.MaxAge > 0 && e.manifest.Age(now) >= p.cfg.MaxAge
}

// configuredLocked is the pool of that name in the configuration; nil where there is none.
func (m *Manager) configuredLocked(name string) *pool {
	if p := m.pools[name]; p != nil && !p.derived() {
		return p
	}
	return nil
}

func (m *Manager) unknownPoolLocked(name string) error {
	err := &UnknownPoolError{Name: name, Pools: []string{}}
	for _, pc := range m.cfg.Pools {
		err.Pools = append(err.Pools, pc.Name)
	}
	return err
}

// warmingLocked is how many environments a pool has in the making.
func (m *Manager) warmingLocked(name string) int {
	n := 0
	for _, e := range m.envs {
		if e.pool == name && e.build != nil {
			n++
		}
	}
	return n
}

// configureLocked puts cfg in force and returns the names of the changed pools.
func (m *Manager) configureLocked(cfg Config) []string {
	changed := []string{}
	before := m.pools
	m.cfg, m.pools = cfg, map[string]*pool{}
	for _, pc := range cfg.Pools {
		hash := pc.Spec.Hash()
		p, ok := before[pc.Name]
		switch {
		case !ok:
			p = &pool{}
			changed = append(changed, pc.Name)
		case p.hash != hash:
			changed = append(changed, pc.Name)
			p.fail, p.renewed = nil, time.Time{}
		case p.cfg.Size != pc.Size || p.cfg.MaxAge != pc.MaxAge:
			changed = append(changed, pc.Name)
		}
		if pc.Size == 0 {
			p.fail = nil
		}
		p.tryAgain() // the cause may be gone, also one outside of this pool's settings
		p.cfg, p.hash, p.shown = pc, hash, redact.Texts(pc.Spec.Packages)
		m.pools[pc.Name] = p
	}
	for name, p := range before {
		switch {
		case p.derived():
			m.rederiveLocked(p)
		case m.pools[name] == nil:
			changed = append(changed, name)
			m.failWaitersLocked(p, func(*waiter) error { return m.unknownPoolLocked(name) })
		}
	}
	slices.Sort(changed)
	return changed
}

// Reconfigure puts cfg in force: environments of an earlier configuration are retired as their replacements arrive. It
// returns the names of the changed pools. Dir stays as it was.
func (m *Manager) Reconfigure(ctx context.Context, cfg Config) (changed []string, err error) {
	if err := m.waitOpen(ctx); err != nil {
		return nil, err
	}
	m.update(func() {
		cfg.Dir = m.cfg.Dir
		changed = m.configureLocked(cfg)
		for _, e := range m.envs {
			p := m.pools[e.pool]
			if e.build != nil && (p == nil || p.cfg.Size == 0 || e.hash != p.hash && !e.build.check) {
				m.cancelBuildLocked(e, "its pool was configured anew")
			}
		}
		for _, p := range m.pools {
			m.serveLocked(p) // what was stale may be current again
			m.failHopelessLocked(p)
		}
		m.changedLocked()
	})
	return changed, nil
}

// Flush drops the ready environments of a pool, or of all where name is empty, has new ones built, and returns how many
// it dropped. The error is *UnknownPoolError.
func (m *Manager) Flush(ctx context.Context, name string) (n int, err error) {
	if err := m.waitOpen(ctx); err != nil {
		return 0, err
	}
	m.update(func() {
		if name != "" && m.configuredLocked(name) == nil {
			err = m.unknownPoolLocked(name)
			return
		}
		for _, e := range m.envs {
			switch {
			case name != "" && baseOf(e.pool) != name:
			case e.state == Ready:
				m.moveLocked(e, Removing, "flushed")
				n++
			case e.build != nil && e.build.check:
				m.cancelBuildLocked(e, "flushed")
			}
		}
		for key, p := range m.pools {
			switch {
			case name != "" && baseOf(key) != name:
			case p.derived():
				m.forgetLocked(p, "flushed")
			default:
				p.tryAgain()
			}
		}
		m.changedLocked()
	})
	return n, err
}

// cancelBuildLocked ends a build, or takes it back where it has not started.
func (m *Manager) cancelBuildLocked(e *env, why string) {
	b := e.build
	if b.running() {
		if !b.canceled {
			e.log.Debug("build is ended", zap.String("why", why))
		}
		b.canceled = true
		b.cancel() // its goroutine moves e
		return
	}
	onDisk := b.check
	m.moveLocked(e, Removing, why)
	if !onDisk {
		delete(m.envs, e.id)
	}
}
