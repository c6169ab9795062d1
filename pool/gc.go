package pool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.uber.org/zap"

	"runtimed/internal/proc"
	"runtimed/internal/statedir"
	"runtimed/pool/envdir"
)

// Item is a folder that GC removes or leaves.
type Item struct {
	ID     string
	Path   string
	Reason string
	Size   int64 // bytes
}

// Collected is what GC did, or would do.
type Collected struct {
	Removed   []Item
	Kept      int    // environments that are ready, leased, being built, or still in use
	Unmanaged []Item // folders among the environments that are none of ours, and are left alone
}

// GC removes at once what is on its way out: released environments that no process runs from, and the trash. With dry it only
// says what it would remove.
func (m *Manager) GC(ctx context.Context, dry bool) (Collected, error) {
	defer endOnPanic()
	if err := m.wait(ctx); err != nil {
		return Collected{}, err
	}
	c := Collected{Removed: []Item{}, Unmanaged: []Item{}}
	m.mu.Lock()
	if !m.enter() {
		m.mu.Unlock()
		return c, ErrClosed
	}
	defer m.work.Done()
	var going []*env
	tenants := map[string]proc.Owner{}
	for _, e := range m.envs {
		if e.state == Removing {
			going, tenants[e.id] = append(going, e), e.tenant
		} else {
			c.Kept++
		}
	}
	m.mu.Unlock()
	ended := func() error {
		if m.ctx.Err() != nil {
			return ErrClosed
		}
		return ctx.Err()
	}
	inUse, unknown := m.procs.Users(m.store.Envs(), tenants)
	for _, e := range going {
		if _, used := inUse[e.id]; used || unknown != nil {
			c.Kept++
			continue
		}
		item := Item{e.id, e.dir, m.whyOf(e), envdir.DiskSize(ctx, e.dir)}
		if !dry {
			m.remove(e)
			if envdir.Exists(e.dir) { // it says in the log why
				c.Kept++
				continue
			}
		}
		c.Removed = append(c.Removed, item)
	}
	for _, name := range m.trashed() {
		path := filepath.Join(m.store.Trash(), name)
		counted := slices.ContainsFunc(c.Removed, func(i Item) bool { return i.ID == name })
		item := Item{name, path, "in the trash", envdir.DiskSize(ctx, path)}
		if mounts := statedir.Mounts(path); dry && len(mounts) > 0 {
			c.Unmanaged = append(c.Unmanaged, Item{name, mounts[0], (&statedir.MountError{Path: mounts[0]}).Error(), 0})
			continue
		}
		if !dry {
			err := m.store.DeleteTrashed(name, ended)
			if ended := ended(); err != nil && ended != nil {
				return c, ended
			}
			var mount *statedir.MountError
			switch {
			case errors.As(err, &mount):
				c.Unmanaged = append(c.Unmanaged, Item{name, mount.Path, mount.Error(), 0})
				continue
			case err != nil && !counted:
				m.log.Warn("what is in the trash cannot be deleted", zap.String("path", path), zap.Error(err))
				continue
			}
		}
		if !counted {
			c.Removed = append(c.Removed, item)
		}
	}
	for _, name := range m.unmanaged() {
		path := m.store.Env(name)
		c.Unmanaged = append(c.Unmanaged, Item{name, path, "has no manifest of its own, so it was not made here", envdir.DiskSize(ctx, path)})
	}
	return c, nil
}

func (m *Manager) whyOf(e *env) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return e.why
}

// strays are the folders among the environments that are none of ours, and whatever else lies there.
func (m *Manager) unmanaged() []string {
	names := []string{}
	entries, err := os.ReadDir(m.store.Envs())
	if err != nil {
		return names // open has said so
	}
	for _, e := range entries {
		id := e.Name()
		m.mu.Lock()
		ours := m.envs[id] != nil
		m.mu.Unlock()
		if !ours && !strings.HasPrefix(id, ".") && !envdir.Exists(m.store.Record(id)) && envdir.Exists(m.store.Env(id)) {
			names = append(names, id)
		}
	}
	return names
}
