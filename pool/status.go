package pool

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"runtimed/internal/proc"
	"runtimed/internal/redact"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// Status is one pool, counted.
type Status struct {
	Name      string
	Kind      string
	Target    int
	Available int // what an acquire would get now
	Warming   int
	Leased    int
	Removing  int
	Waiting   int
	State     string // ready, warming, failing or off
	Python    string
	Packages  []string
	Tool      *builder.Tool // nil while none was looked for, or found
	Error     *StatusError  // nil while builds succeed
	Standby   StandbyStatus
	Lock      string        // the hash of the lock file that its environments were built from; empty: there is none yet
	Idle      time.Duration // a kernel that nobody needs should end after this long; 0: never
	Counters  Counters
}

// StatusError is why builds of a pool fail.
type StatusError struct {
	builder.Error
	Failures  int // in a row
	Since     time.Time
	NextRetry time.Time
}

// Info is one environment.
type Info struct {
	envdir.Manifest
	Path  string
	State State
	Lease *envdir.Lease // nil unless leased
	Alive bool          // the owner is not known to have ended, or a process used it when last looked; set by List
	Where string        // where an owner is that cannot be seen from here: "in another PID namespace"; set by List
	Until time.Time     // the lease is kept for its session until then, after the end of its owner; or zero
}

func (e *env) infoLocked() Info {
	i := Info{Manifest: e.manifest, Path: e.dir, State: e.shown(), Lease: e.tenancy.lease, Until: e.lingersUntil()}
	if e.needs != nil || e.manifest.Needs != nil {
		n := *cmp.Or(e.needs, e.manifest.Needs)
		n.Packages = redact.Texts(n.Packages)
		i.Needs = &n
	}
	i.SizeBytes = e.size()
	i.ID, i.Pool, i.Kind = e.id, baseOf(e.pool), e.spec.Kind // a build has no manifest yet
	return i
}

func (e *env) shown() State {
	if e.state == Extending {
		return Warming
	}
	return e.state
}

// Status counts the pools in the order of the configuration, or one pool. The error is *UnknownPoolError.
func (m *Manager) Status(ctx context.Context, name string) (list []Status, err error) {
	if err := m.waitOpen(ctx); err != nil {
		return nil, err
	}
	m.view(func() {
		if name != "" && m.configuredLocked(name) == nil {
			err = m.unknownPoolLocked(name)
			return
		}
		list = m.statusLocked(name)
	})
	return list, err
}

func (m *Manager) statusLocked(name string) []Status {
	list := []Status{}
	for _, pc := range m.cfg.Pools {
		if name == "" || name == pc.Name {
			list = append(list, m.statusOfLocked(m.pools[pc.Name]))
		}
	}
	return list
}

func (m *Manager) statusOfLocked(p *pool) Status {
	s := Status{
		Name: p.cfg.Name, Kind: p.cfg.Spec.Kind, Target: p.cfg.Size, Waiting: len(p.waiters), Packages: p.shown,
		Python: p.cfg.Spec.Python, Standby: m.standbyStatusLocked(p), Idle: p.cfg.Idle,
		Lock: cmp.Or(p.cfg.Spec.Lock, p.lock), Counters: p.counters,
	}
	if e := m.lockedLocked(p); e != nil {
		s.Lock = e.manifest.Lock
	}
	s.Counters.Failures = maps.Clone(p.counters.Failures)
	for _, e := range m.envs {
		own := e.pool == p.cfg.Name // else it is of a derived pool
		switch {
		case baseOf(e.pool) != p.cfg.Name:
		case own && p.serves(e):
			s.Available++
		case own && e.build != nil:
			s.Warming++
		case e.state == Leased:
			s.Leased++
		case e.state == Removing:
			s.Removing++
		}
	}
	switch {
	case s.Target == 0:
		s.State = "off"
	case p.fail != nil:
		s.State = "failing"
	case s.Available < s.Target:
		s.State = "warming"
	default:
		s.State = "ready"
	}
	if b, ok := m.builders[s.Kind]; ok {
		if tool, ok := b.Tool(); ok {
			s.Tool = &tool
		}
	}
	if f := p.fail; f != nil {
		s.Error = &StatusError{*f.err, f.count, f.since, f.next}
	}
	return s
}

// List returns the environments of a pool (or of all) in a state (or in any), by pool and age. Sizes and processes are
// as they were last found; where that may be out of date, they are looked at again.
func (m *Manager) List(ctx context.Context, pool string, state State) ([]Info, error) {
	if err := m.waitOpen(ctx); err != nil {
		return nil, err
	}
	list, err := m.infos(pool, state)
	m.measureOlder(sizeFresh)
	for i := range list {
		l := list[i].Lease
		if l == nil {
			continue
		}
		s, where := m.ownerSight(l.Owner)
		list[i].Where = where
		switch {
		case s != proc.Gone:
			list[i].Alive = true
		case list[i].Alive:
			wake(m.wakeReap)
		}
	}
	return list, err
}

// Leased is how many environments are leased to owners whose end this daemon will see.
func (m *Manager) Leased(ctx context.Context) (n int, err error) {
	if err := m.waitOpen(ctx); err != nil {
		return 0, err
	}
	list, err := m.infos("", Leased)
	for _, i := range list {
		if i.Lease == nil { // it is being granted
			n++
		} else if s, _ := m.ownerSight(i.Lease.Owner); s != proc.Unseen {
			n++
		}
	}
	return n, err
}

// infos is the list, in which a lease is alive unless the reaper found nobody. The error is *UnknownPoolError where the
// pool neither is configured nor has environments: one that is no longer configured may still have leases.
func (m *Manager) infos(pool string, state State) (list []Info, err error) {
	list = []Info{}
	m.view(func() {
		known := pool == "" || m.configuredLocked(pool) != nil
		for _, e := range m.envs {
			base := baseOf(e.pool)
			known = known || base == pool
			if e.state == Extending && e.build == nil {
				continue // the build that it is reserved for is listed, until it takes its place
			}
			if (pool == "" || base == pool) && (state == "" || e.shown() == state) {
				i := e.infoLocked()
				i.Alive = i.Lease != nil && e.tenancy.orphanedAt.IsZero()
				list = append(list, i)
			}
		}
		if !known {
			list, err = nil, m.unknownPoolLocked(pool)
		}
	})
	slices.SortFunc(list, func(a, b Info) int {
		return cmp.Or(strings.Compare(a.Pool, b.Pool), a.CreatedAt.Compare(b.CreatedAt), strings.Compare(a.ID, b.ID))
	})
	return list, err
}
