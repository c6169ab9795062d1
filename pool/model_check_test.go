package pool

import (
	"context"
	"os"
	"slices"
	"time"

	"runtimed/pool/envdir"
)

// check holds the pool to what the clients know and to what is on disk.
func (m *model) check() {
	list, err := m.w.List(context.Background(), "", "")
	if err != nil {
		m.Fatal(err)
	}
	known := map[string]Info{}
	for _, i := range list {
		known[i.ID] = i
	}
	for id, h := range m.held {
		i, ok := known[id]
		if !ok || i.State != Leased || i.Lease == nil || i.Lease.Owner.PID != h.pid {
			m.Fatalf("%s is held by %+v, and the pool has it as %+v", id, h, i)
		}
		if _, err := os.Stat(i.Python); err != nil {
			m.Fatalf("%s is held: %v", id, err)
		}
	}
	folders := m.w.folders()
	for _, i := range list {
		if i.State != Ready {
			continue
		}
		if _, held := m.held[i.ID]; held || m.over[i.ID] || m.rests[i.ID] != "" {
			m.Fatalf("%s is ready again", i.ID)
		}
		if _, _, err := m.w.store.ReadManifest(i.ID); err != nil || envdir.Exists(m.w.store.Record(i.ID)) {
			m.Fatalf("%s is ready: %v", i.ID, err)
		}
	}
	for _, id := range folders {
		if _, ok := known[id]; !ok {
			m.Fatalf("nobody knows of %s", id)
		}
	}
	for _, i := range list {
		if i.State != Warming && !slices.Contains(folders, i.ID) {
			m.Fatalf("%s is %s, and not on disk", i.ID, i.State)
		}
	}
	statuses, err := m.w.Status(context.Background(), "")
	if err != nil {
		m.Fatal(err)
	}
	waiting := 0
	for _, s := range statuses {
		waiting += s.Waiting
		counted := map[State]int{}
		for _, i := range list {
			if i.Pool == s.Name && (i.Needs == nil || i.State == Leased || i.State == Removing) {
				counted[i.State]++
			}
		}
		if s.Available > counted[Ready] || s.Warming != counted[Warming] || s.Leased != counted[Leased] ||
			s.Removing != counted[Removing] {
			m.Fatalf("the status is %+v, the list has %v", s, counted)
		}
	}
	for _, s := range m.w.living() {
		if e := s.env(m.w); e == nil || e.state != Ready && e.state != Leased {
			m.Fatalf("a standby lives in %s, which has none", s.dir)
		}
	}
	if waiting > len(m.calls) {
		m.Fatalf("%d wait, and %d calls are open", waiting, len(m.calls))
	}
}

func (f *fakeProcs) uses(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.using[id]
}

// End lets all be well again: everybody is answered, and nothing is left over.
func (m *model) End() {
	m.w.b.set(func() { m.w.b.fail, m.w.b.extends, m.w.b.takes = nil, nil, time.Second })
	m.w.reconfigure(func(*Config) {})
	m.w.pass(25 * time.Hour)
	m.settle()
	m.check()
	m.w.pass(time.Minute)
	if len(m.calls) > 0 {
		m.Fatalf("%d calls were never answered", len(m.calls))
	}
	most := len(m.held)
	for _, pc := range m.w.cfg.Pools {
		most += pc.Size
	}
	most += len(m.w.derivedPools())
	for id := range m.over {
		if m.w.p.uses(id) {
			most++
		}
	}
	if n := len(m.w.folders()); n > most {
		m.Fatalf("%d folders, at most %d are right: %s", n, most, m.w.folders())
	}
	list, err := m.w.Status(context.Background(), "")
	if err != nil {
		m.Fatal(err)
	}
	for _, s := range list {
		// a pool that a given-back environment filled has no reason to try again, and so still says that its last build
		// failed
		if s.Available != s.Target || s.Waiting != 0 {
			m.Fatalf("the status is %+v", s)
		}
	}
}
