package pool

import (
	"cmp"
	"context"
	"maps"
	"reflect"
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
	Alive bool          // the owner of the lease is not known to have ended, or a process used it when the sweeper last looked; told by List alone
	Where string        // where that owner is, if it cannot be seen from here: "in another PID namespace"; told by List alone
}

// info copies what there is to tell. Callers hold mu.
func (e *env) info() Info {
	i := Info{Manifest: e.manifest, Path: e.dir, State: e.state, Lease: e.lease}
	if e.needs != nil || e.manifest.Needs != nil {
		n := *cmp.Or(e.needs, e.manifest.Needs)
		n.Packages = redact.Texts(n.Packages)
		i.Needs = &n
	}
	i.SizeBytes = e.size()
	i.ID, i.Pool, i.Kind = e.id, homeOf(e.pool), e.spec.Kind // a build has no manifest yet
	return i
}

// Status counts the pools in the order of the configuration, or one pool. The error is *UnknownPoolError.
func (m *Manager) Status(ctx context.Context, name string) ([]Status, error) {
	defer endOnPanic()
	if err := m.wait(ctx); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if name != "" && m.named(name) == nil {
		return nil, m.unknown(name)
	}
	return m.status(name), nil
}

func (m *Manager) status(name string) []Status {
	list := []Status{}
	for _, pc := range m.cfg.Pools {
		if name == "" || name == pc.Name {
			list = append(list, m.statusOf(m.pools[pc.Name]))
		}
	}
	return list
}

func (m *Manager) statusOf(p *pool) Status {
	s := Status{
		Name: p.cfg.Name, Kind: p.cfg.Spec.Kind, Target: p.cfg.Size, Waiting: len(p.waiters),
		Python: p.cfg.Spec.Python, Packages: p.shown,
	}
	for _, e := range m.envs {
		if homeOf(e.pool) != p.cfg.Name {
			continue
		}
		switch {
		case e.pool == p.cfg.Name:
		case e.state == Ready, e.state == Warming:
			continue // for who has the same needs, and not for everybody
		}
		switch e.state {
		case Ready:
			if p.fits(e) {
				s.Available++
			}
		case Warming:
			s.Warming++
		case Leased:
			s.Leased++
		case Removing:
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

// List returns the environments of a pool (or of all) in a state (or in any), by pool and age. It tells sizes and processes as they
// were found last, and has them looked at again where that may be out of date.
func (m *Manager) List(ctx context.Context, pool string, state State) ([]Info, error) {
	defer endOnPanic()
	if err := m.wait(ctx); err != nil {
		return nil, err
	}
	m.measureOlder(sizeFresh)
	list, known := m.infos(pool, state)
	if !known {
		m.mu.Lock()
		defer m.mu.Unlock()
		return nil, m.unknown(pool)
	}
	for i := range list {
		l := list[i].Lease
		if l == nil {
			continue
		}
		s, where := m.look(l.Owner)
		list[i].Where = where
		switch {
		case s != proc.Gone:
			list[i].Alive = true
		case list[i].Alive:
			m.reapSoon()
		}
	}
	return list, nil
}

// Leased is how many environments are leased to owners whose end this daemon will see.
func (m *Manager) Leased(ctx context.Context) (int, error) {
	defer endOnPanic()
	if err := m.wait(ctx); err != nil {
		return 0, err
	}
	list, _ := m.infos("", Leased)
	n := 0
	for _, i := range list {
		if i.Lease == nil { // on its way
			n++
		} else if s, _ := m.look(i.Lease.Owner); s != proc.Unseen {
			n++
		}
	}
	return n, nil
}

// infos is the list, in which a lease is alive unless the sweeper found nobody; known is false where the pool neither is configured nor
// has environments.
func (m *Manager) infos(pool string, state State) (list []Info, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list = []Info{}
	known = pool == "" || m.named(pool) != nil
	for _, e := range m.envs {
		home := homeOf(e.pool)
		known = known || home == pool // a pool that is no longer configured may still have leases
		if (pool == "" || home == pool) && (state == "" || e.state == state) {
			i := e.info()
			i.Alive = e.lease != nil && e.orphan != e.lease
			list = append(list, i)
		}
	}
	slices.SortFunc(list, func(a, b Info) int {
		return cmp.Or(strings.Compare(a.Pool, b.Pool), a.CreatedAt.Compare(b.CreatedAt), strings.Compare(a.ID, b.ID))
	})
	return list, known
}

// Watch returns the pools as they are now, and calls changed with each pool that is another than last told, at most every
// interval, until ctx ends; the last change is always told. A pool that is no longer configured is told a last time, as gone.
// Where changed returns false it could not be told, and is later.
func (m *Manager) Watch(ctx context.Context, interval time.Duration, changed func(s Status, gone bool) bool) ([]Status, error) {
	defer endOnPanic()
	first, err := m.Status(ctx, "")
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	m.work.Go(func() { m.watch(ctx, interval, first, changed) })
	return first, nil
}

func (m *Manager) watch(ctx context.Context, interval time.Duration, first []Status, changed func(s Status, gone bool) bool) {
	told := map[string]Status{}
	for _, s := range first {
		told[s.Name] = s
	}
	for {
		select { // also before the first: whoever asked reads the answer first
		case <-ctx.Done():
			return
		case <-m.ctx.Done():
			return
		case <-time.After(interval):
		}
		m.mu.Lock()
		now, next := m.status(""), m.change
		m.mu.Unlock()
		missed := false
		gone := maps.Clone(told)
		for _, s := range now {
			delete(gone, s.Name)
			if reflect.DeepEqual(told[s.Name], s) {
				continue
			}
			if changed(s, false) {
				told[s.Name] = s
			} else {
				missed = true
			}
		}
		for name, s := range gone {
			if changed(Status{Name: name, Kind: s.Kind, State: "off"}, true) {
				delete(told, name)
			} else {
				missed = true
			}
		}
		if missed {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-m.ctx.Done():
			return
		case <-next:
		}
	}
}
