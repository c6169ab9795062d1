package pool

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
)

func TestAPoolFillsToItsSizeAndThenStandsStill(t *testing.T) {
	inBubbleWith(t, sized(3), &fakeBuilder{takes: time.Second}, func(w *world) {
		w.want(0, 3, 0, 0)
		if s := w.status(); s.State != "warming" {
			t.Errorf("the state is %s", s.State)
		}
		w.pass(2 * time.Second)
		w.want(3, 0, 0, 0)
		if s := w.status(); s.State != "ready" || s.Error != nil {
			t.Errorf("the status is %+v", s)
		}
		if w.pass(time.Hour); w.b.tries() != 3 {
			t.Errorf("%d builds for 3 environments", w.b.tries())
		}
		if w.b.most != 2 {
			t.Errorf("%d builds ran side by side, not 2", w.b.most)
		}
		if got := w.folders(); len(got) != 3 {
			t.Errorf("on disk are %v", got)
		}
	})
}

func TestCondaBuildsNeverOverlap(t *testing.T) {
	cfg := sized(0)
	cfg.Parallel = 4
	cfg.Pools = append(cfg.Pools, PoolConfig{Name: "conda", Size: 6, Spec: builder.Spec{Kind: builder.KindConda}})
	inBubbleWith(t, cfg, &fakeBuilder{takes: time.Second}, func(w *world) {
		if w.pass(10 * time.Second); w.b.most != 1 || w.b.tries() != 6 {
			t.Errorf("%d side by side, %d in all", w.b.most, w.b.tries())
		}
	})
}

func TestARefillKeepsAwayFromTheKernelThatStarts(t *testing.T) {
	inBubble(t, sized(2), func(w *world) {
		w.settled()
		got := w.get(1)
		at := time.Now()
		w.want(1, 1, 1, 0)
		if w.pass(900 * time.Millisecond); w.b.tries() != 2 {
			t.Error("a build began beside the kernel")
		}
		w.pass(time.Second)
		w.want(2, 0, 1, 0)
		if began := w.b.began[2].Sub(at); began != refillPause {
			t.Errorf("the refill began after %s", began)
		}
		w.release(got.Env.ID)
		w.want(2, 0, 0, 0)
	})
}

func TestNobodyWaitsForThatPause(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.settled()
		w.get(1)
		if got := w.get(2); got.Waited != 0 || !slices.Contains(w.ids(Leased), got.Env.ID) {
			t.Errorf("waited %s", got.Waited)
		}
	})
}

func TestOnlyBuildsThatSomebodyWaitsForRunAtTheUsualPriority(t *testing.T) {
	inBubbleWith(t, sized(2), &fakeBuilder{takes: time.Second}, func(w *world) {
		w.pass(2 * time.Second)
		w.get(1)
		if w.pass(time.Minute); w.b.tries() != 3 || w.b.urgent != 0 {
			t.Errorf("%d of %d builds, and nobody waited", w.b.urgent, w.b.tries())
		}
		for pid := range 3 { // the third waits
			w.get(2 + pid)
		}
		if w.pass(time.Minute); w.b.urgent == 0 || w.b.urgent == w.b.tries()-3 {
			t.Errorf("%d of %d builds, and one waited", w.b.urgent, w.b.tries()-3)
		}
	})
}

func TestAnOldEnvironmentGoesOnceItsReplacementIsThere(t *testing.T) {
	inBubble(t, sized(2), func(w *world) {
		w.settled()
		before := w.ids(Ready)
		w.b.set(func() { w.b.takes = time.Minute })
		w.pass(48*time.Hour - time.Second)
		w.want(2, 0, 0, 0)
		w.pass(time.Second)
		w.want(2, 2, 0, 0) // also available counts the old ones
		w.pass(time.Minute)
		w.want(2, 0, 0, 0)
		if slices.ContainsFunc(w.ids(Ready), func(id string) bool { return slices.Contains(before, id) }) {
			t.Error("an old one is still there")
		}
	})
}

func TestAgeCountsFromTheDiskAndIsNotYoungerAfterARestart(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.settled()
		w.pass(47 * time.Hour)
		w.stop()
		w.start()
		w.want(1, 0, 0, 0)
		if w.pass(time.Hour + time.Second); w.b.tries() != 2 {
			t.Errorf("%d builds", w.b.tries())
		}
	})
}

func TestOfflineTheOldEnvironmentsStay(t *testing.T) {
	inBubble(t, sized(2), func(w *world) {
		w.settled()
		w.b.set(func() { w.b.fail = failing(builder.CauseNetwork) })
		w.pass(49 * time.Hour)
		w.want(2, 0, 0, 0)
		if s := w.status(); s.State != "failing" {
			t.Errorf("the state is %s", s.State)
		}
		if got := w.get(1); got.Stale {
			t.Error("old is not stale")
		}
	})
}

func TestTheOldestGoesFirst(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.settled()
		first := w.ids(Ready)[0]
		w.pass(time.Minute)
		w.reconfigure(func(c *Config) { c.Pools[0].Size = 2 })
		w.settled()
		if got := w.get(1); got.Env.ID != first {
			t.Error("the younger one went first")
		}
	})
}

func TestASmallerPoolDropsTheSurplusAndAPoolOffEverything(t *testing.T) {
	inBubble(t, sized(3), func(w *world) {
		w.settled()
		if got := w.reconfigure(func(c *Config) { c.Pools[0].Size = 1 }); !slices.Equal(got, []string{"uv"}) {
			t.Errorf("changed: %v", got)
		}
		w.want(1, 0, 0, 0)
		w.b.set(func() { w.b.takes = time.Minute })
		w.reconfigure(func(c *Config) { c.Pools[0].Size = 3 })
		w.want(1, 2, 0, 0)
		w.reconfigure(func(c *Config) { c.Pools[0].Size = 0 })
		w.want(0, 0, 0, 0)
		if s := w.status(); s.State != "off" {
			t.Errorf("the state is %s", s.State)
		}
		if len(w.folders()) != 0 {
			t.Errorf("on disk are %v", w.folders())
		}
	})
}

func TestAPoolCanBeAddedAndRemoved(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.settled()
		got := w.reconfigure(func(c *Config) {
			c.Pools = append(c.Pools, PoolConfig{Name: "ml", Size: 2, Spec: spec("torch")})
		})
		if !slices.Equal(got, []string{"ml"}) {
			t.Errorf("changed: %v", got)
		}
		w.settled()
		leased, err := w.Acquire(context.Background(), Request{Pool: "ml", Owner: ownerNo(1)})
		testkit.Check(t, err)
		w.reconfigure(func(c *Config) { c.Pools = c.Pools[:1] })
		w.settled()
		if got := w.folders(); len(got) != 2 || !slices.Contains(got, leased.Env.ID) {
			t.Errorf("on disk are %v; the lease is %s", got, leased.Env.ID)
		}
		w.stop()
		w.start()
		w.settled()
		w.release(leased.Env.ID)
		if w.settled(); len(w.folders()) != 1 {
			t.Errorf("on disk are %v", w.folders())
		}
	})
}

func TestFlushDropsWhatIsReadyAndNothingElse(t *testing.T) {
	inBubble(t, sized(2), func(w *world) {
		w.settled()
		leased := w.get(1)
		w.pass(time.Minute)
		before := w.ids(Ready)
		n, err := w.Flush(context.Background(), "uv")
		if n != 2 || err != nil {
			t.Error(n, err)
		}
		w.pass(time.Minute)
		w.want(2, 0, 1, 0)
		for _, id := range append(before, leased.Env.ID) {
			if slices.Contains(w.ids(Ready), id) {
				t.Errorf("%s is ready", id)
			}
		}
		if _, err := w.Flush(context.Background(), "nope"); fmt.Sprint(err) != `no pool is named "nope"; there are uv` {
			t.Error(err)
		}
	})
}

func TestABuildThatNobodyNeedsAnyMoreIsNotBegun(t *testing.T) {
	cfg := sized(1)
	cfg.Parallel = 1
	inBubbleWith(t, cfg, &fakeBuilder{takes: time.Minute}, func(w *world) {
		w.settled()
		ctx, cancel := context.WithCancel(context.Background())
		for i := range 5 {
			w.goGet(ctx, request(i+1, time.Hour))
		}
		w.want(0, 6, 0, 0)
		cancel()
		w.want(0, 1, 0, 0)
		w.pass(time.Hour)
		w.want(1, 0, 0, 0)
		if w.b.tries() != 1 {
			t.Errorf("%d builds", w.b.tries())
		}
	})
}

func TestLockFilesAreLookedAtEveryHour(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.pass(24*time.Hour + time.Minute)
		if n := w.b.renewed; n < 24 || n > 25 {
			t.Errorf("%d looks in a day", n)
		}
	})
}
