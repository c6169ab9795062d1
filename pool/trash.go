package pool

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"go.uber.org/zap"
)

const (
	trashDelay = 10 * time.Second // after the last build, since ext4 creates files slowly just after many were deleted
	trashLimit = 5 * time.Minute  // builds do not keep the trash for ever
)

// emptyTrash deletes what is in the trash, slowly and late, on a thread of the lowest priority.
func (m *Manager) emptyTrash() {
	runtime.LockOSThread() // and never unlocked: the thread ends with its priority
	lowerThread()
	select {
	case <-m.opened:
	case <-m.ctx.Done():
		return
	}
	told := map[string]bool{}
	left := func() []string {
		return slices.DeleteFunc(m.trashed(), func(n string) bool { return told[n] })
	}
	for {
		if len(left()) == 0 {
			select {
			case <-m.ctx.Done():
				return
			case <-m.trash:
			}
			continue
		}
		if !m.calm() {
			return
		}
		for _, name := range left() {
			path := filepath.Join(m.store.trash(), name)
			err := m.deleteTrash(name, m.breathe)
			if m.ctx.Err() != nil {
				return
			}
			if err != nil {
				m.log.Warn("what is in the trash cannot be deleted; it is left there", zap.String("path", path), zap.Error(err))
				told[name] = true
			}
		}
	}
}

// trashed is what the trash holds.
func (m *Manager) trashed() []string {
	if err := ours(m.store.dir, m.store.trash()); err != nil {
		return nil // a link there leads to where nothing is ours; discard says so
	}
	entries, err := os.ReadDir(m.store.trash())
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// deleteTrash deletes one thing in the trash, as removeTree does.
func (m *Manager) deleteTrash(name string, pause func() error) error {
	if err := ours(m.store.dir, m.store.trash()); err != nil {
		return err
	}
	return removeTree(filepath.Join(m.store.trash(), name), pause)
}

// calm returns once nothing has been built for a while, or at once where the disk is short of room; false at the end.
func (m *Manager) calm() bool {
	began := time.Now()
	for quiet := began; time.Since(quiet) < trashDelay && time.Since(began) < trashLimit; {
		select {
		case <-m.ctx.Done():
			return false
		case <-time.After(time.Second):
		}
		if m.room(&env{}) != nil {
			return true
		}
		m.mu.Lock()
		for _, e := range m.envs {
			if e.state == Warming && e.started {
				quiet = time.Now()
			}
		}
		m.mu.Unlock()
	}
	return true
}

// breathe is called between the deletions of a few files.
func (m *Manager) breathe() error {
	select {
	case <-m.ctx.Done():
		return m.ctx.Err()
	case <-time.After(10 * time.Millisecond):
		return nil
	}
}

// removeTree deletes path and what is below it; it follows no link, mends folders that cannot be written, and calls pause between
// every few dozen files. It goes on where something cannot be deleted, and ends where pause returns an error.
func removeTree(path string, pause func() error) error {
	n := 0
	var ended error
	var remove func(path string) error
	remove = func(path string) error {
		if n++; n%64 == 0 {
			ended = pause()
		}
		if ended != nil {
			return ended
		}
		err := os.Remove(path) // a file, a link, or an empty folder
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		info, lerr := os.Lstat(path)
		if lerr != nil || !info.IsDir() {
			return err
		}
		if info.Mode().Perm()&0o700 != 0o700 {
			_ = os.Chmod(path, 0o700) // what stays forbidden shows below
		}
		entries, err := os.ReadDir(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		var stays error
		for _, e := range entries {
			if err := remove(filepath.Join(path, e.Name())); err != nil {
				stays = err // it does not keep the others
			}
			if ended != nil {
				return ended
			}
		}
		if stays != nil {
			return stays
		}
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) { // somebody else deletes the same
			return err
		}
		return nil
	}
	return remove(path)
}
