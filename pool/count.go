package pool

import (
	"context"
	"errors"
	"time"
)

// Counters counts what has happened in a pool, and in those derived from it, since this daemon began.
type Counters struct {
	Hits     int            // acquires that got what was ready
	Misses   int            // acquires that waited for a build, or got nothing
	Waited   time.Duration  // the time that all these acquires took
	Builds   int            // environments that were built or extended
	Failures map[string]int // builds that failed, by cause
}

// countLocked counts an event of the pool with that key. A pool that is no longer configured counts nothing.
func (m *Manager) countLocked(key string, count func(c *Counters)) {
	if p := m.configuredLocked(baseOf(key)); p != nil {
		count(&p.counters)
	}
}

// countAcquire counts an acquire, unless nothing could have been had by waiting, or nothing new was taken.
func (m *Manager) countAcquire(r Request, got Acquired, err error, took time.Duration) {
	if got.Resumed || err != nil && !errors.As(err, new(*EmptyError)) && !errors.As(err, new(*FailedError)) &&
		!errors.Is(err, context.Canceled) {
		return
	}
	m.view(func() {
		m.countLocked(r.Pool, func(c *Counters) {
			c.Waited += took
			if err == nil && !got.Built && !got.Extended {
				c.Hits++
			} else {
				c.Misses++
			}
		})
	})
}
