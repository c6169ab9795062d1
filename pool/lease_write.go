package pool

import "fmt"

// writeLease replaces the lease record of e, unless somebody put another folder in its place.
func (m *Manager) writeLease(e *env, r leaseRecord) error {
	if e.folder.isNot(e.dir) {
		return fmt.Errorf("%w: another one is at %s", errNoFolder, e.dir)
	}
	return m.store.writeLease(e.dir, r)
}
