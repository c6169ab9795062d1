package pool

import (
	"time"

	"runtimed/pool/envdir"
)

const (
	sizeFresh = 10 * time.Second // what was measured is not measured again, however often somebody asks
	sizeEvery = 5 * time.Minute  // what is leased is measured again, since who has it may install more
)

// measured is what an environment takes on disk, in bytes. Zero is not known: as long as it was not measured, its
// manifest tells.
type measured struct {
	bytes int64
	at    time.Time
}

// size is what is known of what e takes on disk, in bytes; 0 where nothing is.
func (e *env) size() int64 {
	switch {
	case e.build != nil && !e.build.check:
		return 0
	case !e.measured.at.IsZero():
		return e.measured.bytes
	}
	return e.manifest.SizeBytes
}

// olderThan says whether the size of e may have changed: it is leased, and was last measured longer ago.
func (e *env) olderThan(age time.Duration, now time.Time) bool {
	return e.state == Leased && now.Sub(e.since) > age && now.Sub(e.measured.at) > age
}

// measureOlder has what is leased measured again, if any of it was not for so long.
func (m *Manager) measureOlder(age time.Duration) {
	m.view(func() {
		now := time.Now()
		for _, e := range m.envs {
			if e.olderThan(age, now) {
				wake(m.wakeMeasure)
				return
			}
		}
	})
}

// measurer measures environments when it is woken. Thousands of files are looked at for each, so nobody waits for it.
func (m *Manager) measurer() {
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-m.wakeMeasure:
		}
		var list []*env
		m.view(func() {
			now := time.Now()
			for _, e := range m.envs {
				if e.olderThan(sizeFresh, now) {
					list = append(list, e)
				}
			}
		})
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
