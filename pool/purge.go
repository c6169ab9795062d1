package pool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"runtimed/internal/proc"
	"runtimed/internal/statedir"
	"runtimed/pool/envdir"
	"runtimed/pool/standby"
)

// InUseError says that environments are in use, so that nothing was removed.
type InUseError struct {
	ID    string // one of them
	PID   int    // of its owner, or of a process that runs from it; 0 where nobody can tell
	Count int
}

func (e *InUseError) Error() string {
	who := ""
	if e.PID > 0 {
		who = fmt.Sprintf(" by pid %d", e.PID)
	}
	return fmt.Sprintf("%d of the environments are in use (%s%s), so nothing is removed", e.Count, e.ID, who)
}

// Purge removes all environments below the state directory dir with what belongs to them, by the rules by which a
// Manager tells what is ours. The caller holds the locks of a daemon. Where an environment is leased to somebody who is
// alive, or a process runs from it, nothing is removed, and the error is an *InUseError. With dry it only returns what
// it would remove. After a kill, it goes on where it was.
func Purge(dir string, dry bool, log *zap.Logger) (paths []string, stays []statedir.Stays, err error) {
	dir = statedir.RealPath(dir)
	m := &Manager{log: log, store: envdir.At(dir), procs: proc.ThisMachine}
	for _, d := range []string{m.store.Envs(), m.store.Records(), m.store.Trash()} {
		if err := envdir.Ours(dir, d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err // a link leads to where nothing is ours
		}
	}
	if !envdir.Exists(m.store.Envs()) {
		return nil, nil, nil
	}
	ids, err := m.purgeable(dry)
	if err != nil {
		return nil, nil, err
	}
	if dry {
		for _, id := range ids {
			paths = append(paths, m.store.Env(id))
		}
		for _, name := range m.store.Trashed() {
			paths = append(paths, filepath.Join(m.store.Trash(), name))
		}
		return paths, nil, nil
	}
	if envdir.Exists(m.store.Records()) {
		m.clearRecords()
	}
	stay := func(path string, err error) {
		if err != nil {
			stays = append(stays, statedir.Stays{Path: path, Why: err.Error()})
		}
	}
	for _, id := range ids {
		stay(m.store.Env(id), m.store.Discard(id))
	}
	for _, name := range m.store.Trashed() {
		stay(filepath.Join(m.store.Trash(), name), m.store.DeleteTrashed(name, nil))
	}
	folders := []string{m.store.Trash(), m.store.Records(), m.store.Envs()}
	return nil, append(stays, statedir.RemoveEmpty(m.store.Envs(), folders)...), nil
}

func (m *Manager) purgeable(dry bool) (ids []string, err error) {
	entries, err := os.ReadDir(m.store.Envs())
	if err != nil {
		return nil, err
	}
	list, owners := []*found{}, map[string]proc.Owner{}
	for _, entry := range entries {
		id := entry.Name()
		if _, ok := envdir.PoolOf(id); !ok || strings.HasPrefix(id, ".") || !entry.IsDir() {
			continue
		}
		f := m.find(id, entry)
		if f == nil {
			if _, ours := statedir.RecordOf(m.store.Record(id)); ours {
				ids = append(ids, id)
			}
			continue
		}
		owners[id] = f.owner
		list, ids = append(list, f), append(ids, id)
	}
	if !dry {
		m.endLeftStandbys(list) // no daemon runs, so nobody needs them
	}
	inUse, err := m.procs.Users(m.store.Envs(), owners)
	if err != nil && len(list) > 0 {
		return nil, fmt.Errorf("it is not known whether an environment is in use, so nothing is removed: %w", err)
	}
	var used InUseError
	for _, f := range list {
		user, runs := inUse[f.env.id]
		held := f.state == Leased && m.alive(f.owner)
		if f.state == Ready || f.state == Warming { // a standby that nobody has used ends with its daemon
			runs = runs && proc.MarkOf(user.PID, standby.MarkEnv) != f.env.dir
		}
		if runs || held {
			used.ID, used.PID = f.env.id, user.PID
			used.Count++
		}
		if held {
			used.PID = f.owner.PID
		}
	}
	if used.Count > 0 {
		return nil, &used
	}
	return ids, nil
}
