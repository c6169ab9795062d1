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
)

// open reads the disk: what an earlier daemon left half made is ended and set aside, leases go on, and what is whole is ready.
func (m *Manager) open() {
	began := time.Now()
	m.clearRecords()
	entries, err := os.ReadDir(m.store.Envs())
	if err != nil {
		m.log.Error("the environments cannot be read", zap.Error(err))
	}
	found := map[string]*env{}
	for _, entry := range entries {
		id := entry.Name()
		if strings.HasPrefix(id, ".") {
			continue
		}
		if e := m.recover(id, entry); e != nil {
			m.complete(e)
			found[id] = e
		}
	}
	m.mu.Lock()
	m.reform(found)
	counts := map[State]int{}
	for id, e := range found {
		m.envs[id] = e
		counts[e.state]++
		if e.lease != nil {
			m.watchOwner(e)
		}
	}
	m.log.Info("state directory read", zap.Int("ready", counts[Ready]), zap.Int("leased", counts[Leased]), zap.Int("removing", counts[Removing]),
		zap.Int("to_verify", counts[Warming]), zap.Duration("took", time.Since(began)))
	m.changed()
	close(m.opened)
	m.mu.Unlock()
	if strays := m.unmanaged(); len(strays) > 0 {
		m.log.Info("folders that this daemon did not make are left alone", zap.String("in", m.store.Envs()), zap.Strings("names", strays))
	}
}

// clearRecords ends the builds that an earlier daemon did not finish. Processes first: they could go on writing.
func (m *Manager) clearRecords() {
	ours := func(dir string) bool { return proc.Below(m.store.Envs(), dir) || dir == m.store.Tools() }
	if n := proc.EndMarked(ours); n > 0 {
		m.log.Info("ended processes of builds that an earlier daemon began", zap.Int("count", n))
	}
	entries, err := os.ReadDir(m.store.Records())
	if err != nil {
		m.log.Error("the build records cannot be read", zap.Error(err))
		return
	}
	for _, entry := range entries {
		path := filepath.Join(m.store.Records(), entry.Name())
		id, ok := statedir.RecordOf(path)
		if !ok {
			continue // none of ours
		}
		if id != "" {
			if _, _, err := m.store.ReadManifest(id); err != nil {
				if !envdir.MachineFault(err) {
					err = m.store.Discard(id)
				}
				if err != nil { // it keeps its record, and is tried again at the next start
					m.log.Warn("an unfinished environment cannot be set aside", zap.String("env", id), zap.Error(err))
					continue
				}
			}
		}
		if err := os.Remove(path); err != nil { // also what a kill left of an atomic write
			m.log.Warn("a build record cannot be removed", zap.Error(err))
		}
	}
}

// recover makes of a folder what it is by its manifest and its lease record; nil where it is none of ours.
func (m *Manager) recover(id string, entry os.DirEntry) *env {
	pool, ok := envdir.PoolOf(id)
	if !ok || !entry.IsDir() || envdir.Exists(m.store.Record(id)) {
		return nil
	}
	manifest, seen, bad := m.store.ReadManifest(id)
	if errors.Is(bad, envdir.ErrNoManifest) {
		return nil
	}
	e := &env{
		id: id, pool: pool, hash: manifest.SpecHash, spec: builder.Spec{Kind: manifest.Kind}, dir: m.store.Env(id),
		since: time.Now(), manifest: manifest, seen: seen, folder: envdir.FolderOf(m.store.Env(id)),
	}
	if manifest.Needs != nil {
		e.pool = manifest.Needs.Key(pool)
	}
	lease, err := m.store.ReadLease(e.dir)
	switch {
	case err == nil && m.holds(e, lease): // whatever became of it, it is somebody's
		e.state, e.lease = Leased, lease.Lease
		e.replies = 1 // the reply may have been read
	case err == nil && lease.State == envdir.LeaseHeld:
		e.state, e.why, e.tenant = Removing, "its lease came with a copy", lease.Owner
		m.log.Info("a lease came with a copy of its environment, and is nobody's", zap.String("env", id))
	case envdir.MachineFault(err), err != nil && !errors.Is(err, fs.ErrNotExist) && (!errors.Is(err, envdir.ErrEmptyLease) || manifest.BootID == proc.BootID()):
		// What cannot be read may say that somebody holds it. What a power loss took was held by nobody who still runs.
		e.state, e.lease, e.replies = Leased, &envdir.Lease{LeasedAt: manifest.CreatedAt}, 1
		m.log.Warn("the lease record of an environment cannot be read, so it counts as held until somebody releases it",
			zap.String("env", id), zap.Error(err), zap.String("try", "runt pool release "+id))
	case envdir.MachineFault(bad):
		m.log.Warn("environment cannot be looked at, and is left alone until the next start", zap.String("env", id), zap.Error(bad))
		return nil
	case bad != nil, err != nil: // without a lease record, nobody can say whether it was used
		bad = cmp.Or(bad, err)
		e.state, e.why = Removing, bad.Error()
		m.log.Warn("environment cannot be used and is set aside", zap.String("env", id), zap.Error(bad))
	case lease.State == envdir.LeaseReleased:
		e.state, e.why = Removing, "released"
		if lease.Lease != nil {
			e.tenant = lease.Owner
		}
	case manifest.BootID != proc.BootID():
		e.state, e.recheck = Warming, true
		e.stage = builder.Stage{Name: builder.StageQueued, Message: "waiting to be looked through"}
	default:
		e.state = Ready
	}
	return e
}

// holds says whether a lease record holds the environment e: that of a lease, unless it came with a copy, and that of one that was
// released where processes of its owner may use it that cannot be seen from here.
func (m *Manager) holds(e *env, r envdir.LeaseRecord) bool {
	if r.Lease == nil {
		return false
	}
	s, _ := m.look(r.Owner)
	if s != proc.Living && envdir.Copied(e.dir, r.Lease) {
		return false
	}
	return r.State == envdir.LeaseHeld || r.State == envdir.LeaseReleased && s == proc.Unseen
}

// complete notes of the owner of a lease what an earlier version did not, while that can be seen.
func (m *Manager) complete(e *env) {
	if e.lease == nil || e.lease.Owner.Namespace != "" || proc.Namespace() == "" {
		return
	}
	if s, _ := m.look(e.lease.Owner); s != proc.Living {
		return
	}
	o, err := proc.OwnerOf(e.lease.Owner.PID)
	if err != nil || !o.Is(e.lease.Owner) {
		return
	}
	e.lease.Owner = o
	if err := m.writeLease(e, envdir.LeaseRecord{State: envdir.LeaseHeld, Lease: e.lease}); err != nil {
		m.log.Warn("a lease record cannot be completed", zap.String("env", e.id), zap.Error(err))
	}
}
