package pool

import (
	"errors"
	"maps"
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

// emptyTrash deletes what is in the trash, slowly, on a thread of the lowest priority. What cannot be deleted is tried
// again now and then.
func (m *Manager) emptyTrash() {
	runtime.LockOSThread() // and never unlocked: the thread ends with its priority
	tool.LowerThread()
	if m.waitOpen(m.ctx) != nil {
		return
	}
	retryAt := map[string]time.Time{} // of names that could not be deleted, which was logged
	for {
		names := m.store.Trashed()
		maps.DeleteFunc(retryAt, func(name string, _ time.Time) bool { return !slices.Contains(names, name) })
		names = slices.DeleteFunc(names, func(name string) bool { return time.Now().Before(retryAt[name]) })
		if len(names) == 0 {
			var again <-chan time.Time
			if len(retryAt) > 0 {
				again = time.After(time.Until(slices.MinFunc(slices.Collect(maps.Values(retryAt)), time.Time.Compare)))
			}
			select {
			case <-m.ctx.Done():
				return
			case <-m.wakeTrash:
			case <-again:
			}
			continue
		}
		if !m.calm() {
			return
		}
		for _, name := range names {
			err := m.store.DeleteTrashed(name, m.breathe)
			if m.ctx.Err() != nil {
				return
			}
			if err == nil {
				continue
			}
			if retryAt[name].IsZero() {
				m.log.Warn("an entry of the trash cannot be deleted; trying again now and then",
					zap.String("path", filepath.Join(m.store.Trash(), name)), zap.Error(err))
			}
			retryAt[name] = time.Now().Add(retryIn(err))
		}
	}
}

// retryIn is when to try again to remove something.
func retryIn(err error) time.Duration {
	switch {
	case errors.As(err, new(*statedir.MountError)):
		return lookEvery // to see that it is gone costs little
	case envdir.MachineFault(err):
		return faultEvery
	}
	return stuckEvery
}

// calm returns once nothing has been built for a while, or the disk is short of space; false after Close.
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
