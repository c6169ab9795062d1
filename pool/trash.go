package pool

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/statedir"
	"runtimed/internal/tool"
	"runtimed/pool/envdir"
)

const (
	trashDelay = 10 * time.Second // after the last build: ext4 creates files slowly after many were deleted
	trashLimit = 5 * time.Minute  // builds do not delay it longer
)

// emptyTrash deletes what is in the trash, slowly, on a thread of the lowest priority. What cannot be deleted is left
// there; where something is mounted in it, until that is gone.
func (m *Manager) emptyTrash() {
	runtime.LockOSThread() // and never unlocked: the thread ends with its priority
	tool.LowerThread()
	if m.waitOpen(m.ctx) != nil {
		return
	}
	logged := map[string]bool{}
	troubled := false             // and that was logged
	mounts := map[string]string{} // where something is mounted, by the name in the trash
	left := func() []string {
		return slices.DeleteFunc(m.trashed(), func(n string) bool { return logged[n] })
	}
	for {
		if len(left()) == 0 {
			var look <-chan time.Time
			if len(mounts) > 0 {
				look = time.After(lookEvery)
			}
			select {
			case <-m.ctx.Done():
				return
			case <-m.wakeTrash:
			case <-look:
			}
			for name, at := range mounts {
				if !statedir.IsMount(at) {
					delete(mounts, name)
					delete(logged, name)
				}
			}
			continue
		}
		if !m.calm() {
			return
		}
		later := false
		for _, name := range left() {
			err := m.store.DeleteTrashed(name, m.breathe)
			if m.ctx.Err() != nil {
				return
			}
			path := zap.String("path", filepath.Join(m.store.Trash(), name))
			if envdir.MachineFault(err) {
				if !troubled {
					m.log.Warn("what is in the trash cannot be deleted for now", path, zap.Error(err))
				}
				troubled, later = true, true
				continue
			}
			if err != nil {
				m.log.Warn("what is in the trash cannot be deleted; it is left there", path, zap.Error(err))
				logged[name] = true
			}
			var mount *statedir.MountError
			if errors.As(err, &mount) {
				mounts[name] = mount.Path
			}
		}
		if troubled = later; later && !m.sleep(faultEvery) {
			return
		}
	}
}

// trashed are the names in the trash that Discard gave.
func (m *Manager) trashed() []string {
	if err := envdir.Ours(m.store.Dir, m.store.Trash()); err != nil {
		return nil // a link leads to where nothing is ours
	}
	entries, err := os.ReadDir(m.store.Trash())
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if statedir.IsTrash(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names
}

// calm returns once nothing has been built for a while, or the disk is short of room; false after Close.
func (m *Manager) calm() bool {
	began := time.Now()
	for quiet := began; time.Since(quiet) < trashDelay && time.Since(began) < trashLimit; {
		if !m.sleep(time.Second) {
			return false
		}
		if m.room(&build{}) != nil {
			return true
		}
		m.view(func() {
			for _, e := range m.envs {
				if e.build != nil && e.build.running() {
					quiet = time.Now()
				}
			}
		})
	}
	return true
}

func (m *Manager) breathe() error {
	m.sleep(10 * time.Millisecond)
	return m.ctx.Err()
}
