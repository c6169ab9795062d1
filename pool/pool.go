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
	Sockets      string        // the folder of standby kernels' sockets; empty: there are none; does not change
	StandbyIdle  time.Duration // without an acquire or a watch, standbys end after this long; 0: never
	Projects     int           // the last projects used that keep an environment ready
	Pools        []PoolConfig  // in the order in which they are shown
}

// PoolConfig is one named pool.
type PoolConfig struct {
	Name   string
	Size   int // environments kept ready; 0 turns it off
	Spec   builder.Spec
	MaxAge time.Duration // a ready environment is replaced after this long

	Standby int      // ready environments that hold a standby kernel
	Preload []string // modules that a standby has imported

	Idle time.Duration // for the front-end that ends idle kernels: see [Status]
}

// pool is one configured pool, or one derived from it; see derived.go.
type pool struct {
	cfg       PoolConfig
	hash      string
	shown     []string  // the packages, without passwords
	waiters   []*waiter // first come first
	fail      *failure  // nil while builds succeed
	standbys  standbys
	counters  Counters  // of a configured pool, for those derived from it too
	renewed   time.Time // the last try to renew its lock file
	unrenewed bool      // that failed
	lock      string    // the hash of the last one that was built from, for when nothing of that is left

	// Of a derived pool only.
	needs   *builder.Needs
	keep    bool      // one was built, so one is kept ready
	claimed bool      // somebody had one
	used    time.Time // last asked for
}

func (p *pool) size() int {
	if p.derived() && !p.keep {
		return 0
	}
	return p.cfg.Size
}

// serves says whether e may be granted: an earlier configuration serves while builds of the present one fail.
func (p *pool) serves(e *env) bool {
	return e.state == Ready && (e.hash == p.hash || p.fail != nil)
}

func (p *pool) due(e *env, now time.Time) bool {
	return e.hash != p.hash || p.cfg.MaxAge > 0 && e.manifest.Age(now) >= p.cfg.MaxAge
}

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

func (m *Manager) warmingLocked(name string) int {
	n := 0
	for _, e := range m.envs {
		if e.pool == name && e.build != nil {
			n++
		}
	}
	return n
}

func (m *Manager) configureLocked(cfg Config) []string {
	changed := []string{}
	before := m.pools
	m.cfg, m.pools = cfg, map[string]*pool{}
	for _, pc := range cfg.Pools {
		pc.Spec.Preload = pc.Preload
		hash := pc.Spec.Hash()
		p := before[pc.Name]
		if p == nil {
			p = &pool{counters: Counters{Failures: map[string]int{}}}
		}
		sameModules := slices.Equal(p.cfg.Preload, pc.Preload)
		if p.hash != hash || p.cfg.Size != pc.Size || p.cfg.MaxAge != pc.MaxAge || p.cfg.Standby != pc.Standby ||
			p.cfg.Idle != pc.Idle || !sameModules {
			changed = append(changed, pc.Name)
		}
		if !sameModules {
			m.endStandbysLocked(p, "preload was changed")
		}
		if !sameModules || p.hash != hash {
			p.standbys.faults, p.standbys.without = nil, nil
		}
		if p.hash != hash || pc.Size == 0 {
			p.fail, p.renewed, p.lock = nil, time.Time{}, ""
		}
		p.tryAgain() // the cause may be gone, even one outside of this pool
		p.standbys.failures, p.standbys.next = 0, time.Time{}
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
		cfg.Dir, cfg.Sockets = m.cfg.Dir, m.cfg.Sockets
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

// cancelBuildLocked ends a build, whether it runs or waits for its turn.
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
