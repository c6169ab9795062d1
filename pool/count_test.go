package pool

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"runtimed/pool/builder"
)

func TestAPoolCountsWhatHappensInItAndInThoseDerivedFromIt(t *testing.T) {
	cfg := sized(1)
	cfg.Parallel = 1 // else two builds end in the same moment
	inBubble(t, cfg, func(w *world) {
		w.settled()
		counted := func(what string, want Counters) {
			w.Helper()
			if want.Failures == nil {
				want.Failures = map[string]int{}
			}
			if diff := cmp.Diff(want, w.status().Counters); diff != "" {
				w.Errorf("%s: what is to be counted (-) and what is (+):\n%s", what, diff)
			}
		}
		counted("the first build", Counters{Builds: 1})
		w.b.set(func() { w.b.takes = 5 * time.Second })
		w.get(1)
		counted("one that was ready", Counters{Builds: 1, Hits: 1})
		w.get(2)
		counted("one that was built", Counters{Builds: 2, Hits: 1, Misses: 1, Waited: 5 * time.Second})
		if _, err := w.Acquire(context.Background(), request(3, 0)); err == nil {
			w.Error("there is one")
		}
		counted("none without waiting", Counters{Builds: 2, Hits: 1, Misses: 2, Waited: 5 * time.Second})
		w.pass(time.Minute)
		w.b.set(func() { w.b.takes = time.Minute })
		w.get(3)
		ctx, cancel := context.WithCancel(context.Background())
		left := w.goGet(ctx, request(4, time.Hour))
		w.pass(2 * time.Second)
		cancel()
		<-left
		counted("one that gave up", Counters{Builds: 3, Hits: 2, Misses: 3, Waited: 7 * time.Second})
		if _, err := w.Acquire(context.Background(), Request{Pool: "r", Owner: ownerNo(3)}); err == nil {
			w.Error("there is a pool r")
		}
		w.pass(2 * time.Minute)
		counted("an unknown pool", Counters{Builds: 4, Hits: 2, Misses: 3, Waited: 7 * time.Second})

		w.b.set(func() { w.b.takes = time.Second })
		w.asked(5, needs("rich"))
		got := w.status().Counters
		if got.Misses != 4 || got.Builds < 5 || got.Hits != 2 {
			w.Errorf("one with needs: %+v", got)
		}
		w.pass(time.Minute)
		w.b.set(func() { w.b.fail = failing(builder.CauseNetwork) })
		w.get(6)
		w.pass(30 * time.Second)
		if got := w.status().Counters; got.Hits != 3 || got.Failures[builder.CauseNetwork] == 0 {
			w.Errorf("failed builds: %+v", got)
		}
		w.b.set(func() { w.b.fail = nil })
		w.settled()
		w.get(7)
		w.settled()
		w.mustGet(inSession(8, "nb"))
		before := w.status().Counters
		w.p.End(8)
		if again := w.mustGet(inSession(9, "nb")); !again.Resumed || w.status().Counters.Hits != before.Hits {
			w.Errorf("a session that goes on: %+v, %+v", again, w.status().Counters)
		}
		w.settled()
		before = w.status().Counters
		w.reconfigure(func(c *Config) { c.Pools[0].Size = 2 })
		if diff := cmp.Diff(before, w.status().Counters); diff != "" {
			w.Errorf("after a reload:\n%s", diff)
		}
		w.crash()
		w.b.set(func() { w.b.fail = nil })
		w.start()
		w.settled()
		if got := w.status().Counters; got.Hits != 0 || got.Misses != 0 || len(got.Failures) != 0 {
			w.Errorf("the next daemon counts from %+v", got)
		}
	})
}
