package pool

import (
	"fmt"

	"runtimed/pool/envdir"
)

// writeLease replaces the lease record of e, unless somebody put another folder in its place.
func (m *Manager) writeLease(e *env, r envdir.LeaseRecord) error {
	if e.folder.IsNot(e.dir) {
		return fmt.Errorf("%w: another one is at %s", envdir.ErrNoFolder, e.dir)
	}
	return m.store.WriteLease(e.dir, r)
}
