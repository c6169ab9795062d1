package pool

import (
	"context"
	"maps"
	"reflect"
	"time"
)

// Watch returns the pools as they are now, and calls changed with each pool that differs from the last call, at most
// every interval, until ctx ends; the last change is always passed. A pool that is no longer configured is passed once
// more, as gone. Where changed returns false, it is called again later.
func (m *Manager) Watch(
	ctx context.Context, interval time.Duration, changed func(s Status, gone bool) bool,
) ([]Status, error) {
	first, err := m.Status(ctx, "")
	if err != nil {
		return nil, err
	}
	if err := m.enter(func() {}); err != nil {
		return nil, err
	}
	watching := func(n int) {
		m.update(func() {
			m.watching += n
			m.neededLocked()
		})
	}
	watching(1)
	go func() {
		defer m.work.Done()
		defer watching(-1)
		m.watch(ctx, interval, first, changed)
	}()
	return first, nil
}

func (m *Manager) watch(
	ctx context.Context, interval time.Duration, first []Status, changed func(s Status, gone bool) bool,
) {
	last := map[string]Status{}
	for _, s := range first {
		last[s.Name] = s
	}
	for {
		select { // also before the first: whoever asked reads the answer first
		case <-ctx.Done():
			return
		case <-m.ctx.Done():
			return
		case <-time.After(interval):
		}
		var now []Status
		var next chan struct{}
		m.view(func() { now, next = m.statusLocked(""), m.change })
		missed := false
		gone := maps.Clone(last)
		for _, s := range now {
			delete(gone, s.Name)
			if reflect.DeepEqual(last[s.Name], s) {
				continue
			}
			if changed(s, false) {
				last[s.Name] = s
			} else {
				missed = true
			}
		}
		for name, s := range gone {
			if changed(Status{Name: name, Kind: s.Kind, State: "off"}, true) {
				delete(last, name)
			} else {
				missed = true
			}
		}
		if missed {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-m.ctx.Done():
			return
		case <-next:
		}
	}
}
