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
	Unmanaged []Item // folders among the environments that no daemon made, and that are left alone
}

// GC removes at once what is on its way out: released environments that no process runs from, and the trash. With dry
// it only says what it would remove.
func (m *Manager) GC(ctx context.Context, dry bool) (Collected, error) {
	c := Collected{Removed: []Item{}, Unmanaged: []Item{}}
	if err := m.waitOpen(ctx); err != nil {
		return c, err
	}
	var going []*env
	reasons, owners := map[string]string{}, map[string]proc.Owner{}
	err := m.enter(func() {
		for _, e := range m.envs {
			if e.state == Removing {
				going, reasons[e.id], owners[e.id] = append(going, e), e.removal.why, e.removal.owner
			} else {
				c.Kept++
			}
		}
	})
	if err != nil {
		return c, err
	}
	defer m.work.Done()
	users, blind := m.procs.Users(m.store.Envs(), owners)
	for _, e := range going {
		if _, used := users[e.id]; used || blind != nil {
			c.Kept++
			continue
		}
		item := Item{e.id, e.dir, reasons[e.id], envdir.DiskSize(ctx, e.dir)}
		if !dry {
			m.remove(e)
			if envdir.Exists(e.dir) { // it says in the log why
				c.Kept++
				continue
			}
		}
		c.Removed = append(c.Removed, item)
	}
	for _, name := range m.store.Trashed() {
		if err := m.collectTrashed(ctx, name, dry, &c); err != nil {
			return c, err
		}
	}
	for _, name := range m.unmanaged() {
		path := m.store.Env(name)
		size := envdir.DiskSize(ctx, path)
		c.Unmanaged = append(c.Unmanaged, Item{name, path, "has no manifest of its own, so it was not made here", size})
	}
	return c, nil
}

// collectTrashed deletes a name that is in the trash, or with dry says whether it would. The error is that of what
// ended it.
func (m *Manager) collectTrashed(ctx context.Context, name string, dry bool, c *Collected) error {
	path := filepath.Join(m.store.Trash(), name)
	counted := slices.ContainsFunc(c.Removed, func(i Item) bool { return i.ID == name })
	item := Item{name, path, "in the trash", envdir.DiskSize(ctx, path)}
	ended := func() error {
		if m.ctx.Err() != nil {
			return ErrClosed
		}
		return ctx.Err()
	}
	var err error
	if !dry {
		err = m.store.DeleteTrashed(name, ended)
	} else if mounts := statedir.Mounts(path); len(mounts) > 0 {
		err = &statedir.MountError{Path: mounts[0]}
	}
	if ended := ended(); err != nil && ended != nil && !dry {
		return ended
	}
	var mount *statedir.MountError
	switch {
	case errors.As(err, &mount):
		c.Unmanaged = append(c.Unmanaged, Item{name, mount.Path, mount.Error(), 0})
	case err != nil && !counted:
		m.log.Warn("an entry of the trash cannot be deleted", zap.String("path", path), zap.Error(err))
	case !counted:
		c.Removed = append(c.Removed, item)
	}
	return nil
}

func (m *Manager) unmanaged() []string {
	names := []string{}
	entries, err := os.ReadDir(m.store.Envs())
	if err != nil {
		return names // open has logged it
	}
	for _, entry := range entries {
		id := entry.Name()
		managed := strings.HasPrefix(id, ".") || envdir.Exists(m.store.Record(id))
		m.view(func() { managed = managed || m.envs[id] != nil })
		if !managed && envdir.Exists(m.store.Env(id)) {
			names = append(names, id)
		}
	}
	return names
}
