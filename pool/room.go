package pool

import (
	"fmt"

	"runtimed/internal/safefile"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// room says why the build of e may not begin, as far as the disk is concerned. A build that began before it counts as much as the
// largest environment so far; what is in the trash does not count, and is deleted at once where there is no room.
func (m *Manager) room(e *env) error {
	m.mu.Lock()
	minFree, maxSize := m.cfg.MinFree, m.cfg.MaxSize
	var total, largest int64
	builds := 0
	for _, o := range m.envs {
		total += o.manifest.SizeBytes
		largest = max(largest, o.manifest.SizeBytes)
		if o.state == Warming && o.started && !o.recheck && o.turn < e.turn {
			builds++
		}
	}
	m.mu.Unlock()
	total += largest * int64(builds)
	free, err := envdir.FreeSpace(m.store.Dir)
	if err != nil {
		return envdir.DiskError(err)
	}
	if free < minFree {
		return &builder.Error{
			Cause: builder.CauseDiskFull, Message: fmt.Sprintf("%s free under %s, less than the %s that build.min_free asks for", safefile.Size(free), m.store.Dir, safefile.Size(minFree)),
			Hint: "free some room, or lower build.min_free in the configuration",
		}
	}
	if maxSize > 0 && total+largest > maxSize {
		return &builder.Error{
			Cause: builder.CauseDiskFull, Message: fmt.Sprintf("the environments take %s, and one more would pass the %s of build.max_size", safefile.Size(total), safefile.Size(maxSize)),
			Hint: "release environments (runt env list shows them), or raise build.max_size in the configuration",
		}
	}
	return nil
}
