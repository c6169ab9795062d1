package pool

import (
	"fmt"

	"runtimed/internal/safefile"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// room says why the disk has no room for b. A build that started before it counts as much as the largest environment so
// far; what is in the trash does not count, and is deleted at once where there is no room.
func (m *Manager) room(b *build) error {
	var minFree, maxSize, total, largest int64
	builds := 0
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
	total += largest * int64(builds)
	free, err := envdir.FreeSpace(m.store.Dir)
	if err != nil {
		return envdir.DiskError(err)
	}
	if free < minFree {
		return &builder.Error{
			Cause: builder.CauseDiskFull,
			Message: fmt.Sprintf("%s free under %s, less than the %s that build.min_free asks for",
				safefile.Size(free), m.store.Dir, safefile.Size(minFree)),
			Hint: "free some space, or lower build.min_free in the configuration",
		}
	}
	if maxSize > 0 && total+largest > maxSize {
		return &builder.Error{
			Cause: builder.CauseDiskFull,
			Message: fmt.Sprintf("the environments take %s, and one more would pass the %s of build.max_size",
				safefile.Size(total), safefile.Size(maxSize)),
			Hint: "release environments (runt env list shows them), or raise build.max_size in the configuration",
		}
	}
	return nil
}
