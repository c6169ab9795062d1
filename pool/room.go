package pool

// room says why the disk has no room for b. A build that started before it counts as much as the largest environment so
// far; what is in the trash does not count, and is deleted at once where there is no room.
func (m *Manager) room(b *build) error {
	var minFree, maxSize, total, largest, builds int64
	m.view(func() {
		minFree, maxSize = m.cfg.MinFree, m.cfg.MaxSize
		for _, o := range m.envs {
			total += o.manifest.SizeBytes
			largest = max(largest, o.manifest.SizeBytes)
			if o.build != nil && o.build.running() && !o.build.check && o.build.turn < b.turn {
				builds++
			}
		}
	})
	return m.store.Room(minFree, maxSize, total+largest*builds, largest)
}
