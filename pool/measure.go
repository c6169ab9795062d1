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

// olderLocked are the environments whose size may have changed: they are leased, and were last measured longer ago.
func (m *Manager) olderLocked(age time.Duration) (list []*env) {
	now := time.Now()
	for _, e := range m.envs {
		if e.state == Leased && now.Sub(e.since) > age && now.Sub(e.measured.at) > age {
			list = append(list, e)
		}
	}
	return list
}

// measureOlder has what was last measured longer ago measured again.
func (m *Manager) measureOlder(age time.Duration) {
	m.view(func() {
		if len(m.olderLocked(age)) > 0 {
			wake(m.wakeMeasure)
		}
	})
}

// measurer measures environments when it is woken. Each has thousands of files, so nobody waits for it.
func (m *Manager) measurer() {
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-m.wakeMeasure:
		}
		var list []*env
		m.view(func() { list = m.olderLocked(sizeFresh) })
		for _, e := range list {
			if m.ctx.Err() != nil {
				return
			}
			size := envdir.DiskSize(m.ctx, e.dir)
			m.view(func() {
				if e.state == Leased && m.ctx.Err() == nil { // else its folder may have gone meanwhile
					e.measured = measured{size, time.Now()}
				}
			})
		}
	}
}
