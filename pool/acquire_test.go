package pool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

func TestWaitersAreServedInTheOrderInWhichTheyCame(t *testing.T) {
	inBubbleWith(t, sized(1), &fakeBuilder{takes: time.Second}, func(w *world) {
		var answers []<-chan answer
		for i := range 10 {
			answers = append(answers, w.goGet(context.Background(), request(i+1, time.Hour)))
			w.settled()
		}
		if s := w.status(); s.Waiting != 10 || s.Warming != 11 {
			t.Errorf("the status is %+v", s)
		}
		for i := 0; i < 10; i += 2 { // two builds run side by side
			w.pass(time.Second)
			for j, a := range answers {
				if served := len(a) == 1; served != (j < i+2) {
					t.Errorf("after %d s, number %d: served is %t", i/2+1, j, served)
				}
			}
		}
		seen := map[string]bool{}
		for _, c := range answers {
			a := <-c
			if a.err != nil || !a.Built || seen[a.Env.ID] {
				t.Errorf("%+v, %v", a.Acquired, a.err)
			}
			seen[a.Env.ID] = true
		}
	})
}

func TestAnAcquireWithoutPatienceIsAnsweredAtOnce(t *testing.T) {
	inBubbleWith(t, sized(1), &fakeBuilder{takes: 5 * time.Second}, func(w *world) {
		w.settled()
		began := time.Now()
		_, err := w.Acquire(context.Background(), request(1, 0))
		if fmt.Sprint(err) != "the pool uv had no environment ready within 0s, 1 warming" || time.Since(began) != 0 {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		w.pass(6 * time.Second)
		got, err := w.Acquire(context.Background(), request(1, 0))
		if err != nil || got.Built || got.Waited != 0 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestAnEmptyPoolIsWaitedForAsLongAsSaid(t *testing.T) {
	inBubbleWith(t, sized(1), &fakeBuilder{takes: 5 * time.Second}, func(w *world) {
		w.settled()
		_, err := w.Acquire(context.Background(), request(1, time.Second)) // asks for a second build
		var empty *EmptyError
		if !errors.As(err, &empty) || empty.Waited != time.Second || empty.Warming != 2 {
			t.Errorf("the error is %v", err)
		}
		got, err := w.Acquire(context.Background(), request(1, 30*time.Second))
		if err != nil || got.Waited != 4*time.Second || !got.Built {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestAcquireFailsEarlyWhereWaitingIsPointless(t *testing.T) {
	for _, c := range []struct {
		name  string
		cause string
		wait  time.Duration
		after time.Duration // at which it fails
		want  string
	}{
		{"the tool is missing", builder.CauseToolMissing, time.Hour, 0, "it went wrong: line two"},
		{"the next try is later than the wait", builder.CauseOther, 20 * time.Second, 0, "it went wrong: line two"},
		{"the next try is in time, and fails", builder.CauseOther, 40 * time.Second, -1, "it went wrong: line two"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubbleWith(t, sized(1), &fakeBuilder{fail: failing(c.cause)}, func(w *world) {
				w.settled()
				began := time.Now()
				_, err := w.Acquire(context.Background(), request(1, c.wait))
				var failed *FailedError
				if !errors.As(err, &failed) || failed.Build.Cause != c.cause || failed.NextRetry <= 0 ||
					fmt.Sprint(failed.Build) != c.want {
					t.Errorf("the error is %#v", err)
				}
				if c.after >= 0 && time.Since(began) != c.after {
					t.Errorf("it came after %s", time.Since(began))
				}
			})
		})
	}
	inBubble(t, sized(0), func(w *world) {
		_, err := w.Acquire(context.Background(), request(1, time.Hour))
		if fmt.Sprint(err) != "the pool uv is off (size 0)" {
			t.Error(err)
		}
		_, err = w.Acquire(context.Background(), Request{Pool: "nope", Wait: time.Hour})
		if fmt.Sprint(err) != `no pool is named "nope"; there are uv` {
			t.Error(err)
		}
	})
}

func TestWaitersOfAToolThatComesBackAreServed(t *testing.T) {
	inBubbleWith(t, sized(1), &fakeBuilder{fail: failing(builder.CauseToolMissing)}, func(w *world) {
		w.settled()
		w.b.set(func() { w.b.fail, w.b.takes = nil, time.Second })
		if _, err := w.Flush(context.Background(), "uv"); err != nil {
			t.Fatal(err)
		}
		w.get(1)
	})
}

func TestACancelledWaiterLeavesTheBuildToOthers(t *testing.T) {
	inBubbleWith(t, sized(1), &fakeBuilder{takes: 5 * time.Second}, func(w *world) {
		ctx, cancel := context.WithCancel(context.Background())
		a := w.goGet(ctx, request(1, time.Hour))
		w.pass(time.Second)
		cancel()
		if got := <-a; !errors.Is(got.err, context.Canceled) {
			t.Error(got.err)
		}
		w.pass(10 * time.Second)
		w.want(1, 0, 0, 0)
	})
}

func TestAWaiterThatLeavesJustAsItsEnvironmentComesLosesNothing(t *testing.T) {
	for _, how := range []string{"cancelled", "time is up"} {
		t.Run(how, func(t *testing.T) {
			inBubbleWith(t, sized(1), &fakeBuilder{takes: time.Second}, func(w *world) {
				for i := range 60 {
					w.pass(10 * time.Second)
					w.want(1, 0, 0, 0)
					keep := w.get(1)
					w.pass(refillPause) // a build begins now, and ends in a second
					ctx, cancel := context.WithCancel(context.Background())
					r := request(2, time.Hour)
					if how == "time is up" {
						r.Wait = time.Second
					}
					a := w.goGet(ctx, r)
					time.Sleep(time.Second)
					cancel()
					if got := <-a; got.err == nil {
						w.release(got.Env.ID)
					}
					w.release(keep.Env.ID)
					if w.pass(5 * time.Second); len(w.folders()) != 1 {
						t.Fatalf("round %d: on disk are %v", i, w.folders())
					}
				}
			})
		})
	}
}

func TestABurstOf250AllGetAnEnvironment(t *testing.T) {
	inBubbleWith(t, sized(3), &fakeBuilder{takes: 100 * time.Millisecond}, func(w *world) {
		w.pass(time.Minute)
		var answers []<-chan answer
		for i := range 250 {
			answers = append(answers, w.goGet(context.Background(), request(i+1, time.Minute)))
		}
		paths := map[string]bool{}
		for _, c := range answers {
			a := <-c
			if a.err != nil || paths[a.Env.Path] {
				t.Fatalf("%s twice, or %v", a.Env.Path, a.err)
			}
			paths[a.Env.Path] = true
		}
		w.pass(time.Minute)
		w.want(3, 0, 250, 0)
	})
}

func TestNoMoreThan1024Wait(t *testing.T) {
	inBubbleWith(t, sized(1), &fakeBuilder{takes: time.Hour}, func(w *world) {
		ctx, cancel := context.WithCancel(context.Background())
		for i := range maxWaiters {
			w.goGet(ctx, request(i+1, time.Hour))
		}
		w.settled()
		_, err := w.Acquire(ctx, request(9999, time.Hour))
		if !errors.Is(err, ErrOverloaded) {
			t.Error(err)
		}
		cancel()
		w.settled()
		if s := w.status(); s.Waiting != 0 || s.Warming != 2 {
			t.Errorf("the status is %+v", s)
		}
	})
}

func TestStopAnswersTheWaitersAndLeavesTheRest(t *testing.T) {
	inBubbleWith(t, sized(1), &fakeBuilder{}, func(w *world) {
		leased := w.get(1)
		w.pass(3 * time.Second)
		ready := w.ids(Ready)
		w.b.set(func() { w.b.takes = time.Hour })
		w.get(2)
		a := w.goGet(context.Background(), request(3, time.Hour))
		w.settled()
		w.stop()
		if got := <-a; !errors.Is(got.err, ErrClosed) {
			t.Error(got.err)
		}
		for what, err := range map[string]error{
			"release": w.Release(context.Background(), leased.Env.ID),
			"acquire": second(w.Acquire(context.Background(), request(3, 0))),
			"adopt":   second(w.Adopt(context.Background(), leased.Env.ID, 3)),
			"gc":      second(w.GC(context.Background(), false)),
		} {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("%s after the end: %v", what, err)
			}
		}
		w.b.set(func() { w.b.takes = 0 })
		w.start()
		w.want(1, 0, 2, 0)
		if len(ready) != 1 || len(w.folders()) != 3 {
			t.Errorf("ready was %v, on disk are %v", ready, w.folders())
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestAWaiterIsToldHowFarItsBuildIs(t *testing.T) {
	inBubbleWith(t, sized(1), &fakeBuilder{takes: time.Second}, func(w *world) {
		w.settled()
		var reported []string
		r := request(1, time.Hour)
		r.Progress = func(s builder.Stage) { reported = append(reported, s.Name) }
		if _, err := w.Acquire(context.Background(), r); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(reported, " "); got != "installing verifying" && got != "installing" {
			t.Errorf("reported: %s", got)
		}
	})
}

func TestADamagedEnvironmentIsReplacedAndTheWaiterKeepsItsPlace(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, dir string) error{
		"removed":        func(_ *testing.T, d string) error { return os.RemoveAll(d) },
		"no interpreter": func(_ *testing.T, d string) error { return os.Remove(filepath.Join(d, "bin", "python")) },
		"a dangling link": func(t *testing.T, d string) error {
			p := filepath.Join(d, "bin", "python")
			err := os.Remove(p)
			testkit.Link(t, "/gone", p)
			return err
		},
		"a file cut short": func(_ *testing.T, d string) error { return os.Truncate(filepath.Join(d, "kernel.py"), 0) },
		"a file touched": func(_ *testing.T, d string) error {
			return os.Chtimes(filepath.Join(d, "kernel.py"), time.Now(), time.Now())
		},
		"no pyvenv.cfg": func(_ *testing.T, d string) error { return os.Remove(filepath.Join(d, "pyvenv.cfg")) },
		"no manifest":   func(_ *testing.T, d string) error { return os.Remove(filepath.Join(d, envdir.ManifestName)) },
		"the manifest replaced": func(_ *testing.T, d string) error {
			return os.WriteFile(filepath.Join(d, envdir.ManifestName), []byte("{}"), 0o600)
		},
		"no lease record": func(_ *testing.T, d string) error { return os.Remove(filepath.Join(d, envdir.LeaseName)) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, sized(2), func(w *world) {
				w.settled()
				for _, id := range w.ids(Ready) {
					testkit.Check(t, damage(w.T, w.store.Env(id)))
				}
				w.b.set(func() { w.b.takes = time.Second })
				first := w.goGet(context.Background(), request(1, time.Hour))
				w.settled()
				second := w.goGet(context.Background(), request(2, time.Hour))
				a, b := <-first, <-second
				if a.err != nil || b.err != nil || a.Waited > b.Waited || !a.Built {
					t.Errorf("%+v, %v; %+v, %v", a.Acquired, a.err, b.Acquired, b.err)
				}
				w.pass(time.Minute)
				w.want(2, 0, 2, 0)
				if lines := w.said("is damaged and will be replaced"); len(lines) != 2 {
					t.Errorf("the log says %s", lines)
				}
			})
		})
	}
}

// TestAnAcquireWithoutPatienceServesThoseBeforeIt has it find an environment that the first in line was not given yet.
func TestAnAcquireWithoutPatienceServesThoseBeforeIt(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.settled()
		var first *waiter
		var call chan builder.Stage
		var err error
		w.view(func() { first, call, err = w.lineUpLocked(w.pools["uv"], request(1, time.Hour), time.Now()) })
		testkit.Check(t, err)
		var empty *EmptyError
		if _, err := w.Acquire(context.Background(), request(2, 0)); !errors.As(err, &empty) {
			t.Errorf("the one without patience: %v", err)
		}
		got, err := w.await(context.Background(), first, call, request(1, time.Minute), time.Now())
		if err != nil || got.Env.Lease == nil || got.Env.Lease.Owner != ownerNo(1) {
			t.Errorf("the first in line: %+v, %v", got, err)
		}
	})
}
