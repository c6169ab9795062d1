package pool

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"runtimed/internal/proc"
	"runtimed/internal/testkit"
	"runtimed/pool/envdir"
)

func keyed(pid int, key string, wait time.Duration) Request {
	r := request(pid, wait)
	r.Key = key
	return r
}

func TestTheSameKeyJoinsTheWaitAndGetsTheSameEnvironment(t *testing.T) {
	inBubbleWith(t, sized(1), &fakeBuilder{takes: 5 * time.Second}, func(w *world) {
		w.settled()
		// a client gives up after 1 s and retries three times
		for range 3 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			if _, err := w.Acquire(ctx, keyed(1, "k", time.Minute)); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			cancel()
		}
		a := w.goGet(context.Background(), keyed(1, "k", time.Minute))
		b := w.goGet(context.Background(), keyed(1, "k", time.Second))
		w.settled()
		if s := w.status(); s.Waiting != 1 {
			t.Errorf("%d wait", s.Waiting)
		}
		var empty *EmptyError
		if got := <-b; !errors.As(got.err, &empty) || empty.Waited != time.Second {
			t.Error(got.err)
		}
		got := <-a
		again, err := w.Acquire(context.Background(), keyed(1, "k", 0))
		if got.err != nil || err != nil || again.Env.ID != got.Env.ID || again.Env.Lease == nil {
			t.Errorf("%v, %v, %s, %s", got.err, err, got.Env.ID, again.Env.ID)
		}
		w.pass(time.Minute)
		w.want(1, 0, 1, 0)
		if other := w.get(1); other.Env.ID == got.Env.ID {
			t.Error("without a key it is the same")
		}
		w.pass(time.Minute)
		for _, r := range []Request{keyed(1, "other", 0), keyed(2, "k", 0)} {
			if other, err := w.Acquire(context.Background(), r); err != nil || other.Env.ID == got.Env.ID {
				t.Errorf("%+v: %v, %s", r, err, other.Env.ID)
			}
			w.pass(time.Minute)
		}
	})
}

func TestAReleaseFreesTheKey(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		got, err := w.Acquire(context.Background(), keyed(1, "k", time.Minute))
		testkit.Check(t, err)
		w.release(got.Env.ID)
		again, err := w.Acquire(context.Background(), keyed(1, "k", time.Minute))
		if err != nil || again.Env.ID == got.Env.ID {
			t.Errorf("%v, %s", err, again.Env.ID)
		}
	})
}

func TestAKeyIsKnownAfterARestart(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		r := keyed(1, "k", time.Minute)
		r.Label = "a notebook"
		got, err := w.Acquire(context.Background(), r)
		testkit.Check(t, err)
		w.crash()
		w.start()
		again, err := w.Acquire(context.Background(), r)
		if err != nil || again.Env.ID != got.Env.ID || again.Env.Lease.Label != "a notebook" ||
			!again.Env.Lease.LeasedAt.Equal(got.Env.Lease.LeasedAt) {
			t.Errorf("%+v, %v", again.Env, err)
		}
	})
}

func TestAReplyThatNeverLeftGivesTheEnvironmentBack(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		got := w.get(1)
		w.pass(time.Minute)
		w.Undelivered(got.Env.ID)
		w.want(1, 0, 0, 0)
		w.get(2)
		w.Undelivered("uv-00000000") // never heard of
	})
}

func TestWhereOneReplyOfTwoLeftTheLeaseStands(t *testing.T) {
	inBubbleWith(t, sized(1), &fakeBuilder{takes: time.Second}, func(w *world) {
		a := w.goGet(context.Background(), keyed(1, "k", time.Minute))
		b := w.goGet(context.Background(), keyed(1, "k", time.Minute))
		got, also := <-a, <-b
		if got.err != nil || also.err != nil || got.Env.ID != also.Env.ID {
			t.Fatalf("%+v, %+v", got, also)
		}
		w.Undelivered(got.Env.ID)
		w.pass(time.Minute)
		w.want(1, 0, 1, 0)
		w.Undelivered(got.Env.ID)
		w.want(1, 0, 0, 0)
		w.pass(time.Minute)
		got = answer{Acquired: w.get(1)}
		if _, err := w.Adopt(context.Background(), got.Env.ID, 2); err != nil {
			t.Fatal(err)
		}
		w.Undelivered(got.Env.ID) // the reply of the adoption told of it
		w.pass(time.Minute)
		w.want(1, 0, 1, 0)
	})
}

func TestAnEnvironmentThatIsTakenBackIsNotFoundByItsKey(t *testing.T) {
	longHere(t)
	inBubble(t, sized(1), func(w *world) {
		for range 200 {
			got, err := w.Acquire(context.Background(), keyed(1, "k", time.Minute))
			testkit.Check(t, err)
			// both at once: a second reply must either keep the lease, or be of a new one
			go w.Undelivered(got.Env.ID)
			again, err := w.Acquire(context.Background(), keyed(1, "k", time.Minute))
			testkit.Check(t, err)
			w.settled()
			if !slices.Contains(w.ids(Leased), again.Env.ID) {
				t.Fatalf("%s was given away", again.Env.ID)
			}
			w.release(again.Env.ID)
			w.settled()
		}
	})
}

func TestLabelsAndKeysAreBounded(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		long := strings.Repeat(`"`, envdir.MaxText)
		r := keyed(1, long, time.Minute)
		r.Label = long
		got, err := w.Acquire(context.Background(), r)
		if err != nil || got.Env.Lease.Label != long {
			t.Error(err)
		}
		r.Key += "x"
		if _, err := w.Acquire(context.Background(), r); err == nil {
			t.Error("257 bytes are taken")
		}
	})
}

func TestARetryIsKnownThoughItsProcessHasAnotherGroupByNow(t *testing.T) {
	before := Request{Key: "k", Owner: proc.Owner{PID: 1, StartTime: 2, BootID: "b", Group: 1, Terminal: 1}}
	after := before
	after.Owner.Group, after.Owner.Terminal = 7, 0 // as after setsid
	if w := (&waiter{Request: before}); !w.same(after) {
		t.Error("it has a second place in line")
	}
	after.Owner.StartTime++
	if w := (&waiter{Request: before}); w.same(after) {
		t.Error("another process has its place in line")
	}
}
