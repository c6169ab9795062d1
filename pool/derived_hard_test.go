package pool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
)

// keeps has the needs asked for until one is kept ready for them.
func (w *world) keeps(n builder.Needs) {
	w.Helper()
	w.asked(1, n)
	w.pass(time.Minute)
	if got := w.asked(1, n); got.Waited != 0 {
		w.Fatalf("%+v", got)
	}
	w.pass(time.Minute)
}

func TestManyWhoAskAtOnceLeaveNoMoreThanAreKept(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.want(1, 0, 0, 0)
		var calls []<-chan answer
		for i := range 3 * maxDerived {
			calls = append(calls, w.Ask(1, needs(fmt.Sprint("p", i))))
		}
		w.pass(10 * time.Minute)
		for _, c := range calls {
			if a := <-c; a.err != nil {
				t.Error(a.err)
			}
		}
		w.pass(10 * time.Minute)
		if n, ready := len(w.derivedPools()), len(w.ids(Ready)); n > maxDerived || ready > maxDerived+1 {
			t.Errorf("%d derived pools, %d ready", n, ready)
		}
	})
}

func TestWhatCannotBeHadPushesOutNothingThatIsKept(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.keeps(needs("rich"))
		for i := range maxDerived + 2 { // who does not wait gets none built
			r := request(1, 0)
			r.Needs = needs(fmt.Sprint("p", i))
			if a := <-w.goGet(context.Background(), r); a.err == nil {
				t.Errorf("%+v", a)
			}
			w.pass(time.Minute)
		}
		w.b.set(func() {
			w.b.resolves = &builder.Error{Cause: builder.CausePackageNotFound, Message: "there is none", Hint: "none"}
		})
		for i := range maxDerived + 2 {
			if a := <-w.Ask(1, needs(fmt.Sprint("q", i))); a.err == nil {
				t.Errorf("%+v", a)
			}
			w.pass(time.Minute)
		}
		w.b.set(func() { w.b.resolves = nil })
		if got := w.asked(1, needs("rich")); got.Waited != 0 {
			t.Errorf("%+v", got)
		}
		if n := len(w.derivedPools()); n != 1 {
			t.Errorf("%d derived pools", n)
		}
	})
}

func TestTheSameKeyWithNeedsGetsTheSameEnvironment(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.want(1, 0, 0, 0)
		r := request(1, time.Hour)
		r.Key, r.Needs = "k", builder.Needs{Python: ">=3.9"} // which the pool has while it has one ready
		first, again := w.mustGet(r), w.mustGet(r)
		if first.Env.ID != again.Env.ID || again.Waited != 0 {
			t.Errorf("%s and %s", first.Env.ID, again.Env.ID)
		}
		r.Needs = needs("rich") // the key of something else
		if other := w.mustGet(r); other.Env.ID == first.Env.ID {
			t.Errorf("%+v", other)
		}
	})
}

func TestTheSameKeyWithNeedsStaysInItsLine(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.want(1, 0, 0, 0)
		w.b.set(func() { w.b.takes = 10 * time.Second })
		id := w.get(2).Env.ID
		r := request(1, time.Hour)
		r.Key, r.Needs = "k", builder.Needs{Python: ">=3.9"}
		first := w.goGet(context.Background(), r)
		w.settled()
		w.Undelivered(id) // now the pool has one ready
		again := w.goGet(context.Background(), r)
		w.pass(time.Minute)
		if a, b := <-first, <-again; a.err != nil || b.err != nil || a.Env.ID != b.Env.ID {
			t.Errorf("%+v, %+v", a, b)
		}
	})
}

func TestTheSameKeyWithNeedsGetsTheSameAfterItsPoolIsForgotten(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		r := request(1, time.Hour)
		r.Key, r.Needs = "k", needs("rich")
		first := w.mustGet(r)
		if _, err := w.Flush(context.Background(), ""); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Minute)
		if again := w.mustGet(r); again.Env.ID != first.Env.ID || len(w.derivedPools()) != 0 {
			t.Errorf("%s and %s, %d pools", first.Env.ID, again.Env.ID, len(w.derivedPools()))
		}
	})
}

func TestThePoolsOwnPythonMustFitToo(t *testing.T) {
	cfg := sized(1)
	cfg.Pools[0].Spec.Python = testkit.Rooted("/usr/bin/python3") // 3.11.9
	inBubble(t, cfg, func(w *world) {
		w.want(1, 0, 0, 0)
		got := w.asked(1, builder.Needs{Python: cfg.Pools[0].Spec.Python, RequiresPython: ">=3.11"})
		if got.Env.Needs != nil {
			t.Errorf("%+v", got)
		}
		w.b.set(func() {
			w.b.resolves = &builder.Error{Cause: builder.CausePythonMissing, Message: "it is too old", Hint: "none"}
		})
		if a := <-w.Ask(1, builder.Needs{Python: cfg.Pools[0].Spec.Python, RequiresPython: ">=3.12"}); a.err == nil {
			t.Errorf("%+v", a)
		}
	})
}

func TestOnlyWhoWaitsTakesOneOfThePool(t *testing.T) {
	inBubble(t, sized(3), func(w *world) {
		w.keeps(needs("rich"))
		w.b.set(func() { w.b.takes = 10 * time.Second })
		extended := w.b.extended
		// the one that was kept
		w.mustGet(func() Request { r := request(1, time.Hour); r.Needs = needs("rich"); return r }())
		if got := w.asked(1, needs("rich")); !got.Extended {
			t.Errorf("%+v", got)
		}
		w.pass(time.Minute)
		if n := w.b.extended - extended; n != 1 {
			t.Errorf("%d environments of the pool were taken for one who waits", n)
		}
	})
}

func TestWhatIsKeptForNeedsGoesWhereTheDiskIsShort(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.keeps(needs("rich"))
		list, err := w.List(context.Background(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		var total, largest int64
		for _, i := range list {
			total, largest = total+i.SizeBytes, max(largest, i.SizeBytes)
		}
		w.reconfigure(func(c *Config) { c.MaxSize = total + largest/2 })
		w.get(1)
		w.pass(10 * time.Minute)
		if s := w.status(); s.Available != 1 || s.Error != nil || len(w.derivedPools()) != 0 {
			t.Errorf("%+v, %d derived pools", s, len(w.derivedPools()))
		}
	})
}

func TestAFailureOfNeedsDoesNotSayThatItIsTriedAgain(t *testing.T) {
	for _, err := range []error{
		errors.New("nobody knows"),
		&builder.Error{Cause: builder.CauseOther, Message: "uv cannot read it", Hint: "correct the pool's packages"},
		&builder.Error{Cause: builder.CauseVerifyFailed, Message: "it is not whole",
			Hint: "it is tried again by itself"},
		&builder.Error{Cause: builder.CauseNetwork, Message: "the line is dead", Hint: "it is tried again by itself"},
	} {
		inBubble(t, sized(1), func(w *world) {
			w.want(1, 0, 0, 0)
			w.b.set(func() { w.b.resolves = err })
			a := <-w.Ask(1, needs("rich"))
			var failed *FailedError
			if !errors.As(a.err, &failed) || failed.Build.Hint == "" ||
				strings.Contains(failed.Build.Hint, "tried again") || strings.Contains(failed.Build.Hint, "pool's") {
				t.Errorf("%+v", failed)
			}
		})
	}
}

func TestAClockThatWasAheadKeepsNothingForEver(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.keeps(needs("rich"))
		list, err := w.List(context.Background(), "", Ready)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range list {
			if i.Needs == nil {
				continue
			}
			i.CreatedAt = time.Now().Add(1000 * time.Hour)
			if _, err := w.store.WriteManifest(i.Path, i.Manifest); err != nil {
				t.Fatal(err)
			}
		}
		w.crash()
		w.start()
		w.pass(50 * time.Hour)
		if n := len(w.derivedPools()); n != 0 {
			t.Errorf("%d derived pools", n)
		}
	})
}

// TestADamagedEnvironmentThatWasTakenIsNobodysInBetween has others look in the moment in which it is given back.
func TestADamagedEnvironmentThatWasTakenIsNobodysInBetween(t *testing.T) {
	longHere(t)
	inBubble(t, sized(4), func(w *world) {
		for round := range 30 {
			w.pass(time.Minute)
			for _, id := range w.ids(Ready) {
				_ = os.Remove(filepath.Join(w.store.Env(id), "kernel.py"))
			}
			var others sync.WaitGroup
			stop := make(chan struct{})
			for range 3 {
				others.Go(func() {
					for n := 1; ; n++ {
						select {
						case <-stop:
							return
						default:
						}
						if n%50 == 0 {
							// the fake clock stands while anybody runs, and an extension takes time
							time.Sleep(time.Millisecond)
						}
						if got, err := w.Acquire(context.Background(), request(2, 0)); err == nil {
							_ = w.Release(context.Background(), got.Env.ID)
						}
					}
				})
			}
			a := <-w.Ask(1, needs(fmt.Sprint("p", round)))
			close(stop)
			others.Wait()
			if a.err != nil {
				t.Fatal(a.err)
			}
			w.release(a.Env.ID)
		}
		w.pass(time.Minute)
		w.want(4, 0, 0, 0)
	})
}

func TestWhoWaitsLongerThanAnythingIsKeptMakesNobodyBusy(t *testing.T) {
	cfg := sized(1)
	cfg.Pools[0].MaxAge = 10 * time.Second
	inBubble(t, cfg, func(w *world) {
		w.b.set(func() { w.b.takes = time.Minute })
		w.get(1)
		c := w.Ask(1, builder.Needs{Python: "<3.12"})
		w.pass(30 * time.Second)
		var next time.Time
		for _, p := range w.derivedPools() {
			w.update(func() { next = w.planDerivedLocked(p, time.Now()) })
		}
		if !next.IsZero() && !next.After(time.Now()) {
			t.Errorf("it wants to be looked at again in %s", time.Until(next))
		}
		w.pass(5 * time.Minute)
		if a := <-c; a.err != nil {
			t.Error(a.err)
		}
	})
}

func TestAPoolForNeedsHasNoName(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.keeps(needs("rich"))
		name := w.derivedPools()[0].cfg.Name
		r := request(1, 0)
		r.Pool = name
		if _, err := w.Acquire(context.Background(), r); !errors.As(err, new(*UnknownPoolError)) {
			t.Error(err)
		}
		if list, err := w.Status(context.Background(), name); err == nil {
			t.Error(list)
		}
		if list, err := w.List(context.Background(), name, ""); err == nil {
			t.Error(list)
		}
		if _, err := w.Flush(context.Background(), name); err == nil {
			t.Error("flushed")
		}
	})
}

// TestWhoLooksWhileOneIsExtendedSeesEachOnce is for the race detector, too.
func TestWhoLooksWhileOneIsExtendedSeesEachOnce(t *testing.T) {
	inBubble(t, sized(3), func(w *world) {
		w.want(3, 0, 0, 0)
		stop := make(chan struct{})
		var others sync.WaitGroup
		for _, look := range []func(){
			func() { _, _ = w.Status(context.Background(), "") },
			func() { _, _ = w.GC(context.Background(), false) },
			func() { w.Undelivered("uv-00000000"); wake(w.wakeReap) },
			func() { _, _ = w.Flush(context.Background(), "") },
			func() {
				list, err := w.List(context.Background(), "", "")
				seen := map[string]bool{}
				for _, i := range list {
					if i.SizeBytes < 0 || seen[i.ID] || err != nil {
						t.Errorf("%s is there twice, %v", i.ID, err)
					}
					seen[i.ID] = true
				}
			},
		} {
			others.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(70 * time.Millisecond): // in the middle of it, by the fake clock
						look()
					}
				}
			})
		}
		for round := range 20 {
			w.b.set(func() {
				w.b.extends = nil
				if round%2 == 0 {
					w.b.extends = &builder.Error{Cause: builder.CauseNetwork, Message: "half way", Hint: "none"}
				}
			})
			r := request(1, time.Minute)
			r.Needs = needs(fmt.Sprint("p", round%3))
			if a := <-w.goGet(context.Background(), r); a.err == nil {
				w.release(a.Env.ID)
			}
		}
		close(stop)
		others.Wait()
		w.b.set(func() { w.b.extends = nil })
		w.pass(time.Hour)
		w.want(3, 0, 0, 0)
	})
}

func TestAnEnvironmentThatIsToBeExtendedIsNotListedBesideTheBuildThatItIsFor(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.want(1, 0, 0, 0)
		tried := false
		w.b.set(func() {
			w.b.prepared = func() {
				if tried {
					return
				}
				tried = true
				var e *env
				w.view(func() {
					for _, e = range w.envs {
						if e.needs != nil {
							break
						}
					}
				})
				base := w.reserveBase(e, e.build, "3.13.1")
				if ids := w.ids(Warming); slices.Contains(ids, base.id) || !slices.Contains(ids, e.id) {
					t.Errorf("%s is to be extended instead of building %s, and warming are %s", base.id, e.id, ids)
				}
				w.update(func() { w.moveLocked(base, Ready, "this was a trial") })
			}
		})
		if got := w.asked(1, needs("rich")); !got.Extended || !tried {
			t.Errorf("%+v", got)
		}
	})
}
