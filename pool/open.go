package pool

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/proc"
	"runtimed/internal/statedir"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
	"runtimed/pool/standby"
)

// open reads the disk: what is half made goes to the trash, leases go on, and what is whole is ready.
func (m *Manager) open() {
	began := time.Now()
	m.clearRecords()
	entries, err := os.ReadDir(m.store.Envs())
	if err != nil {
		m.log.Error("the environments cannot be read", zap.Error(err))
	}
	var all []*found
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		if f := m.find(entry.Name(), entry); f != nil {
			m.completeLease(f)
			all = append(all, f)
		}
	}
	m.endLeftStandbys(all)
	m.update(func() { m.openLocked(all, began) })
	close(m.opened)
	if names := m.unmanaged(); len(names) > 0 {
		m.log.Info("folders that this daemon did not make are left alone",
			zap.String("in", m.store.Envs()), zap.Strings("names", names))
	}
}

func (m *Manager) openLocked(all []*found, began time.Time) {
	counts := map[State]int{}
	var kept []*env
	for _, f := range all {
		counts[f.state]++
		m.envs[f.env.id] = f.env
		m.moveLocked(f.env, f.state, f.why)
		switch f.state {
		case Leased:
			m.holdLocked(f.env, f.lease, 1) // the reply may have been read
		case Removing:
			f.env.removal.owner = f.owner
		case Warming:
			f.env.build = &build{check: true, stage: waiting("to be checked")}
			fallthrough
		case Ready:
			if f.env.manifest.Needs != nil {
				kept = append(kept, f.env)
			}
		}
	}
	m.restoreDerivedLocked(kept)
	m.log.Info("state directory read", zap.Int("ready", counts[Ready]), zap.Int("leased", counts[Leased]),
		zap.Int("removing", counts[Removing]), zap.Int("to_verify", counts[Warming]),
		zap.Duration("took", time.Since(began)))
}

// endLeftStandbys ends what an earlier daemon left of its standbys. In an environment that was leased it is a kernel.
func (m *Manager) endLeftStandbys(all []*found) {
	unused := map[string]bool{}
	for _, f := range all {
		unused[f.env.dir] = f.state == Ready || f.state == Warming
	}
	proc.EndMarked(standby.MarkEnv, func(dir string) bool { return unused[dir] })
	if m.cfg.Sockets == "" {
		return
	}
	for _, path := range statedir.DeadStandbys(m.cfg.Sockets) {
		if err := statedir.RemoveStandby(path); err != nil {
			m.log.Warn("the socket of a standby kernel cannot be removed", zap.Error(err))
		}
	}
}

func (m *Manager) clearRecords() {
	n := proc.EndMarked(proc.MarkEnv, m.store.MarksBuild)
	n += proc.EndMarked(standby.MarkEnv, func(dir string) bool { // the import check of a build
		return proc.Below(m.store.Envs(), dir) && envdir.Exists(m.store.Record(filepath.Base(dir)))
	})
	if n > 0 {
		m.log.Info("ended processes of builds that an earlier daemon began", zap.Int("count", n))
	}
	for _, err := range m.store.ClearRecords() {
		m.log.Warn("what an earlier daemon began to build cannot be set aside", zap.Error(err))
	}
}

// found is an environment on disk, and the state that it is in.
type found struct {
	env   *env
	state State
	why   string        // when removing
	lease *envdir.Lease // when leased
	owner proc.Owner    // of that, or of the last lease
}

func (m *Manager) find(id string, entry os.DirEntry) *found {
	pool, ok := envdir.PoolOf(id)
	if !ok || !entry.IsDir() || envdir.Exists(m.store.Record(id)) {
		return nil
	}
	manifest, seen, bad := m.store.ReadManifest(id)
	if errors.Is(bad, envdir.ErrNoManifest) {
		return nil
	}
	if manifest.Needs != nil {
		pool = manifest.Needs.Key(pool)
	}
	e := m.newEnv(id, purpose{pool: pool, hash: manifest.SpecHash, spec: builder.Spec{Kind: manifest.Kind}})
	e.manifest, e.seen, e.folder = manifest, seen, envdir.FolderOf(e.dir)
	lease, err := m.store.ReadLease(e.dir)
	unreadable := err != nil && !errors.Is(err, fs.ErrNotExist)
	if errors.Is(err, envdir.ErrEmptyLease) {
		unreadable = manifest.BootID == proc.BootID() // else a power loss took it: whoever held it no longer runs
	}
	switch {
	case err == nil && m.holds(e, lease): // even if its manifest is bad
		return &found{env: e, state: Leased, lease: lease.Lease, owner: lease.Owner}
	case err == nil && lease.State == envdir.LeaseHeld:
		e.log.Info("a lease came with a copy of its environment, so nobody holds it")
		return &found{env: e, state: Removing, why: "its lease came with a copy", owner: lease.Owner}
	case envdir.MachineFault(err), unreadable: // somebody may hold it
		e.log.Warn("the lease record of an environment cannot be read, so it counts as held until somebody releases it",
			zap.Error(err), zap.String("try", "runt pool release "+id))
		return &found{env: e, state: Leased, lease: &envdir.Lease{LeasedAt: manifest.CreatedAt}}
	case envdir.MachineFault(bad):
		e.log.Warn("environment cannot be read, and is left alone until the next start", zap.Error(bad))
		return nil
	case bad != nil, err != nil: // without a lease record it may have been used
		bad = cmp.Or(bad, err)
		e.log.Warn("environment cannot be used and is set aside", zap.Error(bad))
		return &found{env: e, state: Removing, why: bad.Error()}
	case lease.State == envdir.LeaseReleased:
		f := &found{env: e, state: Removing, why: "released"}
		if lease.Lease != nil {
			f.owner = lease.Owner
		}
		return f
	case manifest.BootID != proc.BootID(), m.store.Intact(e.dir, &manifest, seen) != nil: // it may have come in a copy
		return &found{env: e, state: Warming}
	}
	return &found{env: e, state: Ready}
}

// holds says whether a lease record holds e: it is of a lease that did not come with a copy, or of one that was
// released but whose owner may have processes that cannot be seen from here.
func (m *Manager) holds(e *env, r envdir.LeaseRecord) bool {
	if r.Lease == nil {
		return false
	}
	s, _ := m.ownerSight(r.Owner)
	if s != proc.Living && envdir.Copied(e.dir, r.Lease) {
		return false
	}
	return r.State == envdir.LeaseHeld || r.State == envdir.LeaseReleased && s == proc.Unseen
}

func (m *Manager) completeLease(f *found) {
	if f.lease == nil || f.lease.Owner.Namespace != "" || proc.Namespace() == "" {
		return
	}
	if s, _ := m.ownerSight(f.lease.Owner); s != proc.Living {
		return
	}
	o, err := proc.OwnerOf(f.lease.Owner.PID)
	if err != nil || !o.Is(f.lease.Owner) {
		return
	}
	f.lease.Owner = o
	if err := m.writeLease(f.env, envdir.LeaseRecord{State: envdir.LeaseHeld, Lease: f.lease}); err != nil {
		f.env.log.Warn("a lease record cannot be completed", zap.Error(err))
	}
}
