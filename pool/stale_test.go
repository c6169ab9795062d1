package pool

import (
	"context"
	"slices"
	"testing"
	"time"

	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

func (w *world) packages(names ...string) {
	w.Helper()
	w.reconfigure(func(c *Config) { c.Pools[0].Spec = spec(names...) })
}

func TestAfterAChangeTheNewSetIsWaitedForAndTheOldOnesGoAsItComes(t *testing.T) {
	inBubble(t, sized(3), func(w *world) {
		w.settled()
		old := w.ids(Ready)
		w.b.set(func() { w.b.takes = time.Minute })
		w.packages("ipykernel", "numpy")
		w.want(0, 3, 0, 0)
		if got := w.folders(); len(got) != 5 { // 3 and the two that are being built
			t.Errorf("on disk are %v", got)
		}
		got := w.get(1)
		if got.Stale || slices.Contains(old, got.Env.ID) || got.Waited != time.Minute {
			t.Errorf("%+v", got)
		}
		w.pass(time.Second)
		if n := len(w.ids(Ready)); n != 3 {
			t.Errorf("%d are ready", n)
		}
		w.pass(10 * time.Minute)
		w.want(3, 0, 1, 0)
		if slices.ContainsFunc(w.ids(Ready), func(id string) bool { return slices.Contains(old, id) }) {
			t.Error("old ones are left")
		}
	})
}

func TestWhereTheNewSetCannotBeBuiltTheOldOneIsGivenAndSaidToBe(t *testing.T) {
	inBubble(t, sized(2), func(w *world) {
		w.settled()
		w.b.set(func() { w.b.takes, w.b.fail = 5*time.Second, failing(builder.CausePackageNotFound) })
		w.packages("numpyy")
		w.want(0, 2, 0, 0)
		got := w.get(1)
		if !got.Stale || got.Waited != 5*time.Second {
			t.Errorf("%+v", got)
		}
		w.want(1, 0, 1, 0)
		w.crash()
		w.start()
		if again := w.get(2); !again.Stale {
			t.Errorf("%+v", again)
		}
		w.b.set(func() { w.b.fail = nil })
		w.packages("numpy")
		if w.pass(time.Minute); w.status().State != "ready" {
			t.Errorf("the status is %+v", w.status())
		}
		if got := w.get(3); got.Stale {
			t.Errorf("%+v", got)
		}
	})
}

func TestAChangeAndBackTakesTheOldOnesBack(t *testing.T) {
	inBubble(t, sized(2), func(w *world) {
		w.settled()
		old := w.ids(Ready)
		w.b.set(func() { w.b.takes = time.Hour })
		w.packages("numpy")
		a := w.goGet(context.Background(), request(1, time.Minute))
		w.settled()
		w.packages("ipykernel")
		got := <-a
		if got.err != nil || !slices.Contains(old, got.Env.ID) || got.Stale || got.Waited != 0 {
			t.Errorf("%+v, %v", got.Acquired, got.err)
		}
		w.want(1, 1, 1, 0)
	})
}

func TestTheOrderOfPackagesIsNoChange(t *testing.T) {
	cfg := sized(1)
	cfg.Pools[0].Spec = spec("a", "b")
	inBubble(t, cfg, func(w *world) {
		w.settled()
		if changed := w.reconfigure(func(c *Config) { c.Pools[0].Spec = spec("b", "a") }); len(changed) != 0 {
			t.Errorf("changed: %v", changed)
		}
		w.want(1, 0, 0, 0)
		if w.b.tries() != 1 {
			t.Error("it was built anew")
		}
	})
	hashes := map[string]bool{}
	for _, s := range []builder.Spec{
		{}, {Kind: builder.KindUV}, {Kind: builder.KindUV, Python: "3.12"},
		{Kind: builder.KindUV, Packages: []string{"a", "b"}}, {Kind: builder.KindUV, Packages: []string{"ab"}},
		{Kind: builder.KindConda, Channels: []string{"a", "b"}},
		{Kind: builder.KindConda, Channels: []string{"b", "a"}},
	} {
		hashes[s.Hash()] = true
	}
	if len(hashes) != 7 {
		t.Errorf("%d of 7 specs can be told apart", len(hashes))
	}
	if a, b := (builder.Spec{Packages: []string{}, Channels: []string{}}).Hash(), (builder.Spec{}).Hash(); a != b {
		t.Error("an empty list is another than none")
	}
}

func TestReconfiguringEndsTheBuildsThatNoLongerFit(t *testing.T) {
	inBubbleWith(t, sized(3), &fakeBuilder{takes: time.Hour}, func(w *world) {
		w.want(0, 3, 0, 0)
		w.b.set(func() { w.b.takes = time.Second })
		w.packages("numpy")
		w.pass(10 * time.Second)
		w.want(3, 0, 0, 0)
		if n := len(w.folders()); n != 3 {
			t.Errorf("on disk are %v", w.folders())
		}
	})
}

func TestWaitersOfAPoolThatGoesAreTold(t *testing.T) {
	for name, f := range map[string]func(*Config){
		`no pool is named "uv"; there are ml`: func(c *Config) { c.Pools = []PoolConfig{{Name: "ml"}} },
		"the pool uv is off (size 0)":         func(c *Config) { c.Pools[0].Size = 0 },
	} {
		inBubbleWith(t, sized(1), &fakeBuilder{takes: time.Hour}, func(w *world) {
			a := w.goGet(context.Background(), request(1, time.Hour))
			w.settled()
			w.reconfigure(f)
			if got := <-a; got.err == nil || got.err.Error() != name {
				t.Errorf("%v, not %s", got.err, name)
			}
		})
	}
}

func TestAWaiterThatStaysOverAChangeGetsTheNewSet(t *testing.T) {
	inBubbleWith(t, sized(1), &fakeBuilder{takes: time.Minute}, func(w *world) {
		a := w.goGet(context.Background(), request(1, time.Hour))
		w.pass(30 * time.Second)
		w.packages("numpy")
		got := <-a
		if got.err != nil || got.Waited != 90*time.Second || got.Stale {
			t.Errorf("%+v, %v", got.Acquired, got.err)
		}
	})
}

func TestAClockThatJumpsHarmsNothing(t *testing.T) {
	for _, year := range []int{1970, 2099} {
		inBubble(t, sized(2), func(w *world) {
			w.settled()
			leased := w.get(1)
			w.pass(time.Minute)
			w.crash()
			for _, id := range w.folders() {
				w.change(id, func(m *envdir.Manifest) { m.CreatedAt = time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC) })
			}
			w.b.set(func() { w.b.began = nil })
			w.start()
			w.pass(time.Minute)
			w.want(2, 0, 1, 0)
			if w.b.tries() != 2 || w.ids(Leased)[0] != leased.Env.ID {
				t.Errorf("%d builds", w.b.tries())
			}
		})
	}
}
