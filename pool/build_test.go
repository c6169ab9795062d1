package pool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
)

func TestAlwaysFailingBuildsSlowDown(t *testing.T) {
	for _, c := range []struct {
		cause    string
		in5, inH int // tries at most in 5 minutes, in an hour
	}{
		{builder.CauseOther, 6, 18},
		{builder.CausePackageNotFound, 6, 18},
		{builder.CauseNetwork, 10, 75},
		{builder.CauseCertificate, 6, 60},
	} {
		t.Run(c.cause, func(t *testing.T) {
			inBubbleWith(t, sized(3), &fakeBuilder{fail: failing(c.cause)}, func(w *world) {
				w.pass(5 * time.Minute)
				if n := w.b.tries(); n > c.in5 || n < 3 {
					t.Errorf("%d tries in 5 minutes", n)
				}
				w.pass(55 * time.Minute)
				if n := w.b.tries(); n > c.inH {
					t.Errorf("%d tries in an hour", n)
				}
				s := w.status()
				if s.State != "failing" || s.Error == nil || s.Error.Cause != c.cause || s.Error.Failures < 5 ||
					s.Error.Output == "" {
					t.Errorf("the status is %+v, %+v", s, s.Error)
				}
				if !s.Error.NextRetry.After(time.Now()) || s.Error.Since.After(time.Now().Add(-50*time.Minute)) {
					t.Errorf("next try at %s, failing since %s, now is %s", s.Error.NextRetry, s.Error.Since,
						time.Now())
				}
				if lines := w.said("build failed"); len(lines) != 1 {
					t.Errorf("the same failure is in the log %d times", len(lines))
				}
				if w.want(0, 0, 0, 0); len(w.folders()) != 0 {
					t.Errorf("left on disk: %v", w.folders())
				}
			})
		})
	}
}

func TestFailuresSideBySideCountOnceAndOneTryFindsOut(t *testing.T) {
	cfg := sized(8)
	cfg.Parallel = 4
	inBubbleWith(t, cfg, &fakeBuilder{takes: time.Second, fail: failing(builder.CauseOther)}, func(w *world) {
		w.pass(2 * time.Second)
		if s := w.status(); s.Error.Failures != 1 || w.b.tries() != 4 {
			t.Errorf("%d failures of %d tries", s.Error.Failures, w.b.tries())
		}
		w.pass(34 * time.Second)
		if s := w.status(); s.Error.Failures != 2 || w.b.tries() != 5 {
			t.Errorf("%d failures of %d tries", s.Error.Failures, w.b.tries())
		}
	})
}

func TestOneFailureDoesNotSpoilTheOthers(t *testing.T) {
	b := &fakeBuilder{takes: time.Second, fail: func(try int) error {
		if try == 1 {
			return &builder.Error{Cause: builder.CauseOther, Message: "bad luck"}
		}
		return nil
	}}
	inBubbleWith(t, sized(4), b, func(w *world) {
		w.pass(40 * time.Second) // the failure may be the last of the two that ran first
		w.want(4, 0, 0, 0)
		if s := w.status(); s.Error != nil || w.b.tries() != 5 {
			t.Errorf("%d tries; the error is %+v", w.b.tries(), s.Error)
		}
	})
}

func TestTheFirstSuccessEndsThePause(t *testing.T) {
	inBubbleWith(t, sized(3), &fakeBuilder{fail: failing(builder.CauseOther)}, func(w *world) {
		w.pass(time.Hour)
		w.b.set(func() { w.b.fail = nil })
		w.pass(6 * time.Minute)
		w.want(3, 0, 0, 0)
		if s := w.status(); s.State != "ready" || s.Error != nil {
			t.Errorf("the status is %+v", s)
		}
		w.b.set(func() { w.b.fail = failing(builder.CauseOther) })
		w.get(1)
		w.pass(2 * time.Second)
		if s := w.status(); s.Error.Failures != 1 || s.Error.NextRetry.After(time.Now().Add(33*time.Second)) {
			t.Errorf("pauses go on where they were: %+v", s.Error)
		}
	})
}

func TestAFlushOrAnyConfigurationEndsThePause(t *testing.T) {
	for name, f := range map[string]func(*world){
		"flush":               func(w *world) { _, _ = w.Flush(context.Background(), "") },
		"other packages":      func(w *world) { w.reconfigure(func(c *Config) { c.Pools[0].Spec = spec("numpy") }) },
		"another size":        func(w *world) { w.reconfigure(func(c *Config) { c.Pools[0].Size = 1 }) },
		"something elsewhere": func(w *world) { w.reconfigure(func(*Config) {}) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubbleWith(t, sized(2), &fakeBuilder{fail: failing(builder.CauseOther)}, func(w *world) {
				w.pass(time.Hour)
				before := w.b.tries()
				f(w)
				if w.settled(); w.b.tries() == before {
					t.Fatal("nothing was tried")
				}
				if next := time.Until(w.status().Error.NextRetry); next > 33*time.Second {
					t.Errorf("the pause is %s", next)
				}
			})
		})
	}
}

func TestAnAcquireCutsANetworkPauseShort(t *testing.T) {
	inBubbleWith(t, sized(1), &fakeBuilder{fail: failing(builder.CauseNetwork)}, func(w *world) {
		w.pass(time.Hour)
		before, began := w.b.tries(), time.Now()
		for range 60 { // about one call a second
			_, err := w.Acquire(context.Background(), request(1, time.Second))
			if err == nil {
				t.Fatal("an environment out of nothing")
			}
			time.Sleep(time.Second)
		}
		most := int(time.Since(began)/networkHurry) + 1
		if n := w.b.tries() - before; n < most-3 || n > most {
			t.Errorf("%d tries in %s, at most one in 5 s is right", n, time.Since(began))
		}
	})
	inBubbleWith(t, sized(1), &fakeBuilder{fail: failing(builder.CauseOther)}, func(w *world) {
		w.pass(time.Hour)
		before := w.b.tries()
		for range 60 {
			_, _ = w.Acquire(context.Background(), request(1, time.Second))
			time.Sleep(time.Second)
		}
		if n := w.b.tries() - before; n > 1 {
			t.Errorf("%d tries in a minute", n)
		}
	})
}

func TestAnAcquireTriesNoCertificateAgainAndIsToldAtOnce(t *testing.T) {
	inBubbleWith(t, sized(1), &fakeBuilder{fail: failing(builder.CauseCertificate)}, func(w *world) {
		w.settled()
		for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(time.Second) {
			asked := time.Now()
			_, err := w.Acquire(context.Background(), request(1, time.Hour))
			var failed *FailedError
			if !errors.As(err, &failed) || failed.Build.Cause != builder.CauseCertificate || time.Since(asked) > 0 {
				t.Fatalf("after %s: %v", time.Since(asked), err)
			}
		}
		if n := w.b.tries(); n != 1 {
			t.Errorf("%d tries within a minute", n)
		}
		_, _ = w.Flush(context.Background(), "")
		if w.settled(); w.b.tries() != 2 {
			t.Errorf("%d tries after a flush", w.b.tries())
		}
		w.reconfigure(func(*Config) {})
		if w.settled(); w.b.tries() != 3 {
			t.Errorf("%d tries after a reload", w.b.tries())
		}
	})
}

func TestABuildEndsByItsDeadline(t *testing.T) {
	hold := make(chan struct{})
	inBubbleWith(t, sized(1), &fakeBuilder{takes: time.Hour, hold: hold}, func(w *world) {
		w.pass(10*time.Minute + time.Second)
		s := w.status()
		if s.Error == nil || s.Error.Cause != builder.CauseTimeout ||
			s.Error.Message != "the build was not done after 10m0s; its last step was half way" {
			t.Errorf("the error is %+v", s.Error)
		}
		w.want(0, 0, 0, 0)
	})
}

func TestABuilderThatDoesNotSayWhyIsShownAsItIs(t *testing.T) {
	b := &fakeBuilder{fail: always(errors.New("fetching https://me:secret@host/simple: boom"))}
	inBubbleWith(t, sized(1), b, func(w *world) {
		e := w.settled().status().Error
		if e == nil || e.Cause != builder.CauseOther || e.Message != "fetching https://***@host/simple: boom" ||
			e.Hint == "" {
			t.Errorf("the error is %+v", e)
		}
		if lines := w.said("secret"); len(lines) > 0 {
			t.Errorf("the log tells the password: %s", lines)
		}
	})
}

func TestAKindWithoutABuilderIsAnErrorAndNoCrash(t *testing.T) {
	cfg := sized(1)
	cfg.Pools[0].Spec.Kind = "other"
	inBubble(t, cfg, func(w *world) {
		e := w.settled().status().Error
		if e == nil || e.Cause != builder.CauseToolMissing {
			t.Errorf("the error is %+v", e)
		}
	})
}

func TestTooLittleRoomStopsBuildsWithTheReason(t *testing.T) {
	for _, c := range []struct {
		set  func(*Config)
		want string
	}{
		{func(c *Config) { c.MinFree = 1 << 62 }, "that build.min_free asks for"},
		{func(c *Config) { c.MaxSize = 1 }, "one more would pass the 1 B of build.max_size"},
	} {
		cfg := sized(2)
		inBubble(t, cfg, func(w *world) {
			w.settled()
			w.get(1)
			w.reconfigure(c.set)
			w.pass(3 * time.Second)
			e := w.status().Error
			if e == nil || e.Cause != builder.CauseDiskFull || !strings.Contains(e.Message, c.want) {
				t.Errorf("the error is %+v", e)
			}
			if w.b.tries() != 2 {
				t.Error("a build began")
			}
		})
	}
}

func TestTheStateDirectoryMayBeDeletedUnderARunningDaemon(t *testing.T) {
	inBubble(t, sized(2), func(w *world) {
		w.settled()
		testkit.Check(t, os.RemoveAll(w.store.Envs()))
		got := w.get(1)
		if _, err := os.Stat(got.Env.Python); err != nil {
			t.Error(err)
		}
		w.pass(3 * time.Second)
		w.want(2, 0, 1, 0)
		w.release(got.Env.ID)
		w.want(2, 0, 0, 0)
		if lines := w.said("is damaged"); len(lines) != 2 {
			t.Errorf("the log says %s", lines)
		}
	})
}

func TestBuildErrorsAreReadable(t *testing.T) {
	e := &builder.Error{Message: "no", Output: "first\nlast\n"}
	if got := fmt.Sprint(e, ", ", &builder.Error{Message: "no"}); got != "no: last, no" {
		t.Error(got)
	}
}

func TestWhatIsEndedInItsLastMomentDoesNotCount(t *testing.T) {
	b := &fakeBuilder{}
	w := &world{T: t, cfg: Config{Dir: t.TempDir()}, b: b, p: newProcs()}
	w.make()
	e := w.newEnv("uv-00000000", purpose{pool: "uv", spec: spec()})
	ctx, cancel := context.WithCancel(t.Context())
	e.state, e.build, w.envs[e.id] = Warming, &build{check: true, cancel: cancel}, e
	b.mu.Lock() // its last step waits here
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.runBuild(ctx, e, e.build)
	}()
	for stage := ""; stage != builder.StageVerifying; time.Sleep(time.Millisecond) {
		w.view(func() { stage = e.build.stage.Name })
	}
	w.update(func() {
		b.mu.Unlock()
		time.Sleep(50 * time.Millisecond) // until it waits for the lock
		w.cancelBuildLocked(e, "flushed")
	})
	<-ended
	if e.state != Removing {
		t.Errorf("it is %s", e.state)
	}
}
