package pool

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"runtimed/internal/proc"
	"runtimed/internal/testkit"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

func inSession(pid int, session string) Request {
	r := request(pid, time.Hour)
	r.Session, r.Linger = session, time.Minute
	return r
}

func (w *world) mustGet(r Request) Acquired {
	w.Helper()
	got, err := w.Acquire(context.Background(), r)
	if err != nil {
		w.Fatal(err)
	}
	return got
}

func TestASessionGetsItsEnvironmentBackAfterItsOwnerHasEnded(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		first := w.mustGet(inSession(1, "nb"))
		if first.Resumed || first.Env.Lease.Session != "nb" {
			t.Errorf("%+v", first)
		}
		w.pass(time.Minute)
		w.p.End(1)
		w.pass(59 * time.Second)
		w.want(1, 0, 1, 0)
		r := inSession(2, "nb")
		r.Label, r.Key, r.Linger = "again", "k", time.Second
		again := w.mustGet(r)
		want := &envdir.Lease{Owner: ownerNo(2), Label: "again", Key: "k", LeasedAt: again.Env.Lease.LeasedAt,
			Session: "nb", LingerMS: 1000}
		if !again.Resumed || again.Built || again.Env.ID != first.Env.ID || cmp.Diff(want, again.Env.Lease) != "" {
			t.Errorf("%+v\n%s", again, cmp.Diff(want, again.Env.Lease))
		}
		if record, err := readWithoutFolder(again.Env.Path); err != nil || cmp.Diff(want, record.Lease) != "" {
			t.Errorf("%v, %s", err, cmp.Diff(want, record.Lease))
		}
		w.pass(time.Hour)
		w.want(1, 0, 1, 0)
		w.crash()
		w.start()
		w.p.End(2)
		if last := w.mustGet(inSession(3, "nb")); !last.Resumed || last.Env.ID != first.Env.ID {
			t.Errorf("after a crash it is %+v", last)
		}
	})
}

func TestASessionIsNotGivenWhereItIsNotTheCallers(t *testing.T) {
	for name, ask := range map[string]func(*world) Request{
		"its owner lives": func(*world) Request { return inSession(2, "nb") },
		"the same owner":  func(*world) Request { return inSession(1, "nb") },
		"another session": func(w *world) Request { w.p.End(1); return inSession(2, "other") },
		"none":            func(w *world) Request { w.p.End(1); return request(2, time.Hour) },
		"it was released": func(w *world) Request { w.release(w.ids(Leased)[0]); return inSession(2, "nb") },
		"it has lingered enough": func(w *world) Request {
			w.p.End(1)
			w.pass(61 * time.Second)
			return inSession(2, "nb")
		},
		"another pool": func(w *world) Request {
			w.reconfigure(func(c *Config) {
				c.Pools = append(c.Pools, PoolConfig{Name: "ml", Size: 1, Spec: spec("ipykernel"), MaxAge: time.Hour})
			})
			w.p.End(1)
			r := inSession(2, "nb")
			r.Pool = "ml"
			return r
		},
		"its Python is gone": func(w *world) Request {
			w.p.End(1)
			if err := os.Remove(filepath.Join(w.store.Env(w.ids(Leased)[0]), "bin", "python")); err != nil {
				w.Fatal(err)
			}
			return inSession(2, "nb")
		},
		"its folder is gone": func(w *world) Request {
			dir := w.store.Env(w.ids(Leased)[0])
			err := os.RemoveAll(dir)
			for range 100 {
				if err == nil {
					break
				}
				time.Sleep(time.Millisecond) // Windows keeps a folder that the daemon is just looking at
				err = os.RemoveAll(dir)
			}
			testkit.Check(w, err)
			w.p.End(1)
			return inSession(2, "nb")
		},
		"its folder is a link": func(w *world) Request {
			dir := w.store.Env(w.ids(Leased)[0])
			if err := os.Rename(dir, dir+"-moved"); err != nil {
				w.Fatal(err)
			}
			testkit.Link(w, dir+"-moved", dir)
			w.p.End(1)
			return inSession(2, "nb")
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, sized(1), func(w *world) {
				first := w.mustGet(inSession(1, "nb"))
				w.pass(time.Minute)
				if got := w.mustGet(ask(w)); got.Resumed || got.Env.ID == first.Env.ID {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

func TestASessionGoesToOneOfSeveralThatAskAtOnce(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		first := w.mustGet(inSession(1, "nb"))
		last := 1
		for pid := 2; pid < 200; pid += 5 {
			w.p.End(last)
			var answers []<-chan answer
			for i := range 5 {
				answers = append(answers, w.goGet(context.Background(), inSession(pid+i, "nb")))
			}
			resumed := 0
			for i, c := range answers {
				a := <-c
				switch {
				case a.err != nil:
					t.Error(a.err)
				case a.Resumed:
					resumed++
					last = pid + i
					if a.Env.ID != first.Env.ID || a.Env.Lease.Owner.PID != last {
						t.Errorf("%+v", a)
					}
				default:
					w.release(a.Env.ID)
				}
			}
			if resumed != 1 {
				t.Errorf("%d got it", resumed)
			}
			w.settled()
		}
	})
}

func TestASessionGetsWhatItsNeedsWereAddedTo(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		r := inSession(1, "nb")
		r.Needs = builder.Needs{Packages: []string{"pandas"}}
		first := w.mustGet(r)
		w.p.End(1)
		if plain := w.mustGet(inSession(2, "nb")); plain.Resumed {
			t.Errorf("without needs it is %+v", plain)
		}
		w.p.End(2)
		w.crash()
		w.start()
		r.Owner = ownerNo(3)
		if again := w.mustGet(r); !again.Resumed || again.Env.ID != first.Env.ID {
			t.Errorf("%+v", again)
		}
		given := inSession(4, "nb")
		given.Needs = builder.Needs{Packages: []string{"ipykernel"}} // which the pool has by itself
		if got := w.mustGet(given); !got.Resumed {
			t.Errorf("%+v", got)
		}
	})
}

func TestARetryOfWhoResumedGetsTheSame(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		first := w.mustGet(inSession(1, "nb"))
		w.p.End(1)
		r := inSession(2, "nb")
		r.Key = "k"
		w.mustGet(r)
		if again := w.mustGet(r); again.Env.ID != first.Env.ID {
			t.Errorf("%s and %s", first.Env.ID, again.Env.ID)
		}
	})
}

func TestWhatWasUsedIsNotReadyAgainWhereTheReplyToItsSessionNeverLeft(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		id := w.mustGet(inSession(1, "nb")).Env.ID
		w.pass(time.Minute)
		w.p.End(1)
		if got := w.mustGet(inSession(2, "nb")); !got.Resumed {
			t.Fatalf("%+v", got)
		}
		w.Undelivered(id)
		w.want(1, 0, 1, 0)
		w.p.End(2)
		if got := w.mustGet(inSession(3, "nb")); !got.Resumed || got.Env.ID != id {
			t.Errorf("%+v", got)
		}
		w.p.End(3)
		w.pass(70 * time.Second)
		w.want(1, 0, 0, 0)
		if slices.Contains(w.ids(Ready), id) {
			t.Error("it is ready again")
		}
	})
}

func TestALeaseLingersForAsLongAsItsSessionAsked(t *testing.T) {
	for name, c := range map[string]struct {
		linger time.Duration
		end    func(w *world, id string)
		stays  time.Duration // from the end on
	}{
		"a minute":           {time.Minute, func(w *world, _ string) { w.p.End(1) }, time.Minute},
		"a part of a second": {300 * time.Millisecond, func(w *world, _ string) { w.p.End(1) }, 300 * time.Millisecond},
		"not at all":         {0, func(w *world, _ string) { w.p.End(1) }, 0},
		"anew after a crash": {time.Minute, func(w *world, _ string) {
			w.p.End(1)
			w.pass(50 * time.Second)
			w.crash()
			w.start()
		}, time.Minute},
		"after its last process": {time.Minute, func(w *world, id string) {
			w.p.use(id, true)
			w.p.End(1)
			w.pass(time.Hour)
			w.p.use(id, false)
			wake(w.wakeReap)
		}, time.Minute},
		"anew after a process that came meanwhile": {time.Minute, func(w *world, id string) {
			w.p.End(1)
			w.pass(time.Second)
			w.p.use(id, true)
			w.pass(time.Hour)
			w.p.use(id, false)
			wake(w.wakeReap)
		}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, sized(1), func(w *world) {
				r := inSession(1, "nb")
				r.Linger = c.linger
				id := w.mustGet(r).Env.ID
				w.pass(time.Minute)
				c.end(w, id)
				if c.stays > 0 {
					w.pass(c.stays - 10*time.Millisecond)
					w.want(1, 0, 1, 0)
					if list, err := w.List(context.Background(), "", Leased); err != nil || len(list) != 1 ||
						list[0].Alive {
						t.Errorf("%+v, %v", list, err)
					}
					w.pass(20 * time.Millisecond)
				}
				w.want(1, 0, 0, 0)
			})
		})
	}
}

func TestALeaseThatLingersCanBeReleased(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		id := w.mustGet(inSession(1, "nb")).Env.ID
		w.pass(time.Minute)
		w.p.End(1)
		w.settled()
		w.release(id)
		w.want(1, 0, 0, 0)
	})
}

func TestWhileALeaseLingersTheSweeperRests(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		var looks atomic.Int64
		users := w.procs.Users
		w.procs.Users = func(envs string, held map[string]proc.Owner) (map[string]proc.Process, error) {
			looks.Add(1)
			return users(envs, held)
		}
		r := inSession(1, "nb")
		r.Linger = time.Hour
		got := w.mustGet(r)
		w.pass(time.Minute)
		w.p.End(1)
		w.pass(59 * time.Minute)
		if looks.Load() != 1 {
			t.Errorf("it looked at all processes %d times", looks.Load())
		}
		// a lease that is over and cannot be ended is no reason to spin
		record := filepath.Join(got.Env.Path, envdir.LeaseName)
		testkit.Check(t, os.Remove(record))
		testkit.Check(t, os.Mkdir(record, 0o700))
		w.pass(2 * time.Minute)
		if n := looks.Load(); n > 30 {
			t.Errorf("it looked at all processes %d times", n)
		}
	})
}

func TestTheLeaseRecordHasRoomForTheLongestTexts(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		for i, long := range []string{strings.Repeat(`"`, envdir.MaxText), strings.Repeat(`\`, envdir.MaxText),
			strings.Repeat("\u2028", envdir.MaxText/3)} {
			r := inSession(i+1, long)
			r.Label, r.Key, r.Linger = long, long, time.Hour
			got := w.mustGet(r)
			if record, err := readWithoutFolder(got.Env.Path); err != nil ||
				cmp.Diff(got.Env.Lease, record.Lease) != "" {
				t.Errorf("%v, %s", err, cmp.Diff(got.Env.Lease, record.Lease))
			}
			w.p.End(i + 1)
			if again := w.mustGet(inSession(i+100, long)); !again.Resumed {
				t.Errorf("%+v", again)
			}
		}
		for _, bad := range []string{strings.Repeat("x", envdir.MaxText+1), "\x01", "\xff"} {
			for name, r := range map[string]Request{"label": {Label: bad}, "key": {Key: bad},
				"session": {Session: bad}} {
				r.Pool, r.Owner = "uv", ownerNo(1)
				if _, err := w.Acquire(context.Background(), r); err == nil || !strings.Contains(err.Error(), name) {
					t.Errorf("%s %.10q: %v", name, bad, err)
				}
			}
		}
	})
}
