package pool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
)

func needs(packages ...string) builder.Needs { return builder.Needs{Packages: packages} }

// Ask acquires with needs in the background.
func (w *world) Ask(pid int, n builder.Needs) <-chan answer {
	r := request(pid, time.Hour)
	r.Needs = n
	return w.goGet(context.Background(), r)
}

// asked is what ask got once nothing happens any more.
func (w *world) asked(pid int, n builder.Needs) Acquired {
	w.Helper()
	c := w.Ask(pid, n)
	synctest.Wait()
	w.pass(time.Minute)
	a := <-c
	if a.err != nil {
		w.Fatal(a.err)
	}
	return a.Acquired
}

func TestNeedsExtendAReadyEnvironmentAndOneIsKeptForWhoAsksAgain(t *testing.T) {
	inBubble(t, sized(2), func(w *world) {
		w.want(2, 0, 0, 0)
		ready := w.ids(Ready)
		c := w.Ask(1, needs("rich"))
		w.pass(100 * time.Millisecond)
		if warming := w.ids(Warming); len(warming) != 2 ||
			!slices.Contains(ready, warming[0]) && !slices.Contains(ready, warming[1]) {
			t.Errorf("%q are warming, and not one of %q and its replacement", warming, ready)
		}
		got := (<-c).Acquired
		w.pass(time.Minute)
		if !got.Extended || got.Built || !slices.Contains(ready, got.Env.ID) || got.Env.Pool != "uv" {
			t.Errorf("%+v of %q", got, ready)
		}
		if len(got.Added) != 1 || got.Added[0].Name != "rich" ||
			!slices.Equal(got.Env.Needs.Packages, []string{"rich"}) {
			t.Errorf("added %v, needs %v", got.Added, got.Env.Needs)
		}
		w.want(2, 0, 1, 0) // replaced, and the one that is kept counts for nobody else
		if n := len(w.ids(Ready)); n != 3 {
			t.Errorf("%d are ready, and not the pool's two and one with rich", n)
		}
		for range 3 {
			again := w.asked(1, needs("rich"))
			if again.Extended || again.Built || again.Waited != 0 || again.Env.Needs == nil {
				t.Errorf("%+v", again)
			}
		}
		if w.b.extended != 1 {
			t.Errorf("extended %d times", w.b.extended)
		}
		// It outlives the daemon.
		w.crash()
		w.start()
		if again := w.asked(1, needs("rich")); again.Waited != 0 || again.Env.Needs == nil {
			t.Errorf("%+v", again)
		}
		w.want(2, 0, 5, 0)
	})
}

func TestNeedsThatThePoolMeetsCostNothing(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.want(1, 0, 0, 0)
		for _, n := range []builder.Needs{needs("ipykernel"), {Python: ">=3.12"},
			{Python: "3.13", Packages: []string{"ipykernel"}}} {
			if got := w.asked(1, n); got.Extended || got.Built || got.Env.Needs != nil {
				t.Errorf("%+v: %+v", n, got)
			}
		}
		if w.b.extended != 0 || len(w.derivedPools()) != 0 {
			t.Errorf("extended %d times, %d pools", w.b.extended, len(w.derivedPools()))
		}
	})
}

func TestAnotherPythonIsBuiltOutright(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.b.set(func() { w.b.takes = time.Second })
		w.pass(time.Minute)
		ready := w.ids(Ready)
		got := w.asked(1, builder.Needs{Python: "<3.12"})
		if got.Extended || !got.Built || got.Env.PythonVersion != "3.11.9" ||
			!slices.Equal(w.ids(Ready)[:1], ready) && !slices.Contains(w.ids(Ready), ready[0]) {
			t.Errorf("%+v", got)
		}
	})
}

func TestNeedsThatCannotBeMetCostThePoolNothing(t *testing.T) {
	inBubble(t, sized(2), func(w *world) {
		w.want(2, 0, 0, 0)
		ready, tries := w.ids(Ready), w.b.tries()
		w.b.set(func() {
			w.b.resolves = &builder.Error{Cause: builder.CauseUnsatisfiable, Message: "they do not go together",
				Hint: "loosen them"}
		})
		for range 2 {
			a := <-w.Ask(1, needs("a<1", "a>1")) // at once
			var failed *FailedError
			if !errors.As(a.err, &failed) || failed.Build.Cause != builder.CauseUnsatisfiable || failed.Name != "uv" ||
				failed.NextRetry >= 0 {
				t.Fatalf("%+v", a.err)
			}
		}
		w.pass(time.Hour) // and it is not tried again
		w.want(2, 0, 0, 0)
		if !slices.Equal(w.ids(Ready), ready) || w.b.tries() != tries || len(w.derivedPools()) != 0 {
			t.Errorf("ready %q before and %q now, %d builds, %d pools", ready, w.ids(Ready), w.b.tries()-tries,
				len(w.derivedPools()))
		}
		if s := w.status(); s.State != "ready" || s.Error != nil {
			t.Errorf("%+v", s)
		}

		// Where it fails later, the environment is checked, and goes on if it is as it was.
		w.b.set(func() {
			w.b.resolves = nil
			w.b.extends = &builder.Error{Cause: builder.CauseNetwork, Message: "the line is dead", Hint: "mend it"}
		})
		if a := <-w.Ask(1, needs("b")); a.err == nil {
			t.Fatalf("%+v", a)
		}
		w.want(2, 0, 0, 0)
		if !slices.Equal(w.ids(Ready), ready) || w.b.checked != 1 {
			t.Errorf("ready %q before and %q now, looked at %d times", ready, w.ids(Ready), w.b.checked)
		}
		w.crash()
		w.start()
		w.want(2, 0, 0, 0)
		if !slices.Equal(w.ids(Ready), ready) {
			t.Errorf("after a crash: ready %q before and %q now", ready, w.ids(Ready))
		}
		// Where it is not, it is replaced.
		w.b.set(func() { w.b.verify = errors.New("something was added") })
		if a := <-w.Ask(1, needs("b")); a.err == nil {
			t.Fatalf("%+v", a)
		}
		w.pass(time.Minute)
		w.want(2, 0, 0, 0)
		if slices.Equal(w.ids(Ready), ready) {
			t.Errorf("%q are ready as before", ready)
		}
	})
}

func TestAnEnvironmentThatWasBeingExtendedIsNobodysAfterACrash(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		id := w.settled().ids(Ready)[0]
		w.Ask(1, needs("rich"))
		w.pass(100 * time.Millisecond) // half way
		w.crash()
		w.start()
		w.pass(time.Minute)
		if got := w.ids(Ready); len(got) != 1 || got[0] == id {
			t.Errorf("%q", got)
		}
	})
}

func TestOnlySoManySetsOfNeedsAreKept(t *testing.T) {
	longHere(t)
	inBubble(t, sized(1), func(w *world) {
		w.want(1, 0, 0, 0)
		for i := range maxDerived + 2 {
			w.asked(1, needs(fmt.Sprint("p", i)))
			w.asked(1, needs("p0")) // it is asked for again and again, so it stays
		}
		if n := len(w.derivedPools()); n != maxDerived {
			t.Errorf("%d derived pools", n)
		}
		if n := len(w.ids(Ready)); n != maxDerived+1 {
			t.Errorf("%d ready", n)
		}
		w.b.set(func() { w.b.resolves = errors.New("nobody may ask again") })
		if got := w.asked(1, needs("p0")); got.Waited != 0 {
			t.Errorf("%+v", got)
		}
		w.b.set(func() { w.b.resolves = nil })
		w.pass(50 * time.Hour) // longer than anything is kept
		if n := len(w.ids(Ready)); n != 1 {
			t.Errorf("%d ready after a long time", n)
		}
		w.want(1, 0, len(w.ids(Leased)), 0)
	})
}

func TestPoolsForNeedsFollowTheConfiguration(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.asked(1, needs("rich"))
		changed := w.reconfigure(func(c *Config) { c.Pools[0].Spec = spec("ipykernel", "pip") })
		if !slices.Equal(changed, []string{"uv"}) {
			t.Errorf("changed: %q", changed)
		}
		w.pass(time.Minute)
		got := w.asked(1, needs("rich"))
		if got.Stale || got.Waited != 0 || got.Env.SpecHash == "" || got.Env.Needs == nil {
			t.Errorf("%+v", got)
		}
		if n, err := w.Flush(context.Background(), "uv"); err != nil || n != 2 {
			t.Errorf("%d flushed, %v", n, err)
		}
		w.pass(time.Minute)
		w.want(1, 0, 2, 0)
		if n := len(w.derivedPools()); n != 0 {
			t.Errorf("%d derived pools after a flush", n)
		}
		w.asked(1, needs("rich"))
		w.reconfigure(func(c *Config) { c.Pools[0].Size = 0 })
		w.pass(time.Minute)
		if n := len(w.ids(Ready)); n != 0 {
			t.Errorf("%d ready in a pool that is off", n)
		}
		a := <-w.Ask(1, needs("rich"))
		var off *OffError
		if !errors.As(a.err, &off) || off.Name != "uv" {
			t.Errorf("%v", a.err)
		}
		w.reconfigure(func(c *Config) {
			c.Pools[0] = PoolConfig{Name: "uv", Size: 1, Spec: builder.Spec{Kind: builder.KindConda}}
		})
		path := needs("rich")
		path.Python = testkit.Rooted("/usr/bin/python3")
		a = <-w.Ask(1, path)
		var kind *KindError
		if !errors.As(a.err, &kind) {
			t.Errorf("%v", a.err)
		}
	})
}

func TestADamagedEnvironmentIsNotExtended(t *testing.T) {
	inBubble(t, sized(2), func(w *world) {
		w.want(2, 0, 0, 0)
		list, _ := w.List(context.Background(), "", Ready)
		if err := os.Remove(filepath.Join(list[0].Path, "kernel.py")); err != nil {
			t.Fatal(err)
		}
		if got := w.asked(1, needs("rich")); !got.Extended || got.Env.ID == list[0].ID {
			t.Errorf("%+v", got)
		}
		w.want(2, 0, 1, 0)
	})
}

func TestABuildForNeedsEndsWhenNobodyWaitsForItAnyMore(t *testing.T) {
	hangs := func(builder.Spec) bool { return true }
	inBubbleWith(t, sized(1), &fakeBuilder{hangs: hangs}, func(w *world) {
		w.pass(time.Minute) // the pool's own hangs, too
		old := builder.Needs{Python: "<3.12"}
		r := request(1, 5*time.Second)
		r.Needs = old
		short := w.goGet(context.Background(), r)
		ctx, cancel := context.WithCancel(context.Background())
		r.Wait, r.Owner = time.Hour, ownerNo(2)
		long := w.goGet(ctx, r)
		w.settled()
		tries := w.b.tries()
		w.pass(time.Minute)
		if a := <-short; !errors.As(a.err, new(*EmptyError)) {
			t.Errorf("%v", a.err)
		}
		if w.b.tries() != tries || len(w.derivedPools()) != 1 {
			t.Errorf("%d builds and %d pools while one waits on", w.b.tries()-tries, len(w.derivedPools()))
		}
		cancel() // its client hung up
		if a := <-long; a.err == nil {
			t.Errorf("%+v", a)
		}
		w.settled()
		if w.b.building() != 1 || len(w.derivedPools()) != 0 {
			t.Errorf("%d builds run, %d derived pools", w.b.building(), len(w.derivedPools()))
		}
		w.b.set(func() { w.b.hangs = nil })
		if got := w.asked(1, old); got.Env.PythonVersion != "3.11.9" { // and whoever asks again has it built
			t.Errorf("%+v", got)
		}
	})
}

func TestWhoAsksForTheSameKeepsABuildAlive(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.want(1, 0, 0, 0)
		w.b.set(func() { w.b.takes = 10 * time.Second })
		tries := w.b.tries()
		r := request(1, 5*time.Second)
		r.Needs = builder.Needs{Python: "<3.12"}
		first := w.goGet(context.Background(), r)
		w.pass(4 * time.Second)
		second := w.Ask(2, r.Needs)
		w.pass(time.Minute)
		if a := <-first; a.err == nil {
			t.Errorf("%+v", a)
		}
		if a := <-second; a.err != nil || a.Waited > 7*time.Second {
			t.Errorf("%+v after %s", a.err, a.Waited)
		}
		if n := w.b.tries() - tries; n > 3 { // one for each who asked, and the one that is kept
			t.Errorf("%d builds", n)
		}
	})
}

func TestOneThatHangsKeepsNoOtherNeedsWaiting(t *testing.T) {
	cfg := sized(1)
	cfg.Parallel = 1
	inBubble(t, cfg, func(w *world) {
		w.want(1, 0, 0, 0)
		w.b.set(func() { w.b.hangs = func(s builder.Spec) bool { return slices.Contains(s.Packages, "hangs") } })
		other := func(pid int, name string) builder.Needs {
			return builder.Needs{Packages: []string{name}, Python: "<3.12"}
		}
		var stuck []<-chan answer
		for i := range derivedAtOnce + 2 { // more than run at once: the last begin when the first have had their time
			n := other(i, "hangs")
			n.Packages = append(n.Packages, fmt.Sprint("p", i))
			stuck = append(stuck, w.Ask(i+2, n))
		}
		w.settled()
		if n := w.b.building(); n != derivedAtOnce {
			t.Errorf("%d builds at once", n)
		}
		w.pass(2*derivedYoung + time.Second)
		if n := w.b.building(); n != derivedAtOnce+2 {
			t.Errorf("%d builds at once when the first were given up on", n)
		}
		began := time.Now()
		if a := <-w.Ask(1, other(1, "rich")); a.err != nil {
			t.Error(a.err)
		}
		if d := time.Since(began); d > derivedYoung {
			t.Errorf("it took %s", d)
		}
		w.get(1) // and the pool itself goes on
		w.Close()
		for _, c := range stuck {
			<-c
		}
	})
}

func TestWhoWaitsForThePoolDoesNotQueueBehindWhatIsOnlyKeptReady(t *testing.T) {
	cfg := sized(1)
	cfg.Parallel = 1
	inBubble(t, cfg, func(w *world) {
		w.keeps(needs("rich"))
		w.b.set(func() { w.b.hangs = func(s builder.Spec) bool { return slices.Contains(s.Packages, "rich") } })
		w.asked(1, needs("rich")) // the one that is kept: another is to be made in its place, and hangs
		w.get(1)
		w.pass(time.Minute)
		began := time.Now()
		w.get(1)
		w.get(1)
		if d := time.Since(began); d > 10*time.Second {
			t.Errorf("it took %s", d)
		}
	})
}
