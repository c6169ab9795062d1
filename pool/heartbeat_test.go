package pool

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// newWorld is a world that has not started yet.
func newWorld(t *testing.T, dir string, b *fakeBuilder) *world {
	w := &world{T: t, cfg: sized(1), b: b, p: newProcs()}
	w.cfg.Dir = dir
	w.make()
	return w
}

// beating has f with a Manager in a bubble that was told to beat every 10 s, and with the count of its beats.
func beating(t *testing.T, f func(w *world, beats func() int64)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir, &fakeBuilder{})
		var n atomic.Int64
		w.Heartbeat(10*time.Second, func() { n.Add(1) })
		f(w, n.Load)
		w.stop()
	})
}

func TestTheLoopBeatsAtLeastAsOftenAsItWasTold(t *testing.T) {
	beating(t, func(w *world, beats func() int64) {
		w.Start()
		w.settled()
		for range 100 {
			before := beats()
			w.pass(10 * time.Second)
			if beats() == before {
				t.Fatalf("it has stopped after %d beats", before)
			}
		}
		if n := beats(); n > 150 {
			t.Errorf("%d beats for 100: it wakes for more than that", n)
		}
	})
}

func TestALongBuildDoesNotHoldTheBeatUp(t *testing.T) {
	beating(t, func(w *world, beats func() int64) {
		hold := make(chan struct{})
		w.b.hold = hold
		w.Start()
		w.want(0, 1, 0, 0)
		before := beats()
		w.pass(5 * time.Minute)
		if got := beats() - before; got < 29 {
			t.Errorf("%d beats in 5 minutes of a build", got)
		}
		close(hold)
	})
}

// TestALoopThatHangsDoesNotBeat has real time: a bubble's stands still while somebody waits for a lock.
func TestALoopThatHangsDoesNotBeat(t *testing.T) {
	w := newWorld(t, t.TempDir(), &fakeBuilder{})
	var n atomic.Int64
	w.Heartbeat(time.Millisecond, func() { n.Add(1) })
	w.Start()
	more := func(than int64) bool {
		for end := time.Now().Add(10 * time.Second); n.Load() <= than && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		return n.Load() > than
	}
	if !more(5) {
		t.Fatal("it does not beat")
	}
	w.mu.Lock()
	before := n.Load()
	time.Sleep(300 * time.Millisecond)
	if got := n.Load() - before; got > 1 {
		t.Errorf("%d beats while the lock was held", got)
	}
	w.mu.Unlock()
	if !more(before + 5) {
		t.Error("it does not beat any more")
	}
	w.stop()
}
