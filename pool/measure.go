package pool

import (
	"time"

	"runtimed/pool/envdir"
)

const (
	sizeFresh = 10 * time.Second // a size is good for this long, however often somebody asks
	sizeEvery = 5 * time.Minute  // what is leased is measured this often, since its owner may install more
)

// measured is what an environment takes on disk. Until it is measured, its manifest tells.
type measured struct {
	bytes int64
	at    time.Time
}

func (e *env) size() int64 {
	switch {
	case e.build != nil && !e.build.check:
		return 0
	case !e.measured.at.IsZero():
		return e.measured.bytes
	}
	return e.manifest.SizeBytes
}

// measureOlder measures in the background what is leased and was last measured longer ago. Each has thousands of files.
func (m *Manager) measureOlder(age time.Duration) {
	m.view(func() {
		var list []*env
		now := time.Now()
		for _, e := range m.envs {
			if e.state == Leased && now.Sub(e.since) > age && now.Sub(e.measured.at) > age {
				list = append(list, e)
			}
		}
		if len(list) > 0 && !m.measuring && m.enterLocked() {
			m.measuring = true
			go m.measure(list)
		}
	})
}

func (m *Manager) measure(list []*env) {
	defer m.work.Done()
	for _, e := range list {
		size := envdir.DiskSize(m.ctx, e.dir)
		m.view(func() {
			if e.state == Leased && m.ctx.Err() == nil { // else its folder may have gone meanwhile
				e.measured = measured{size, time.Now()}
			}
		})
	}
	m.view(func() { m.measuring = false })
}
