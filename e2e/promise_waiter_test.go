//go:build e2e && unix

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"runtimed/rpc"
)

func TestAClientThatLeavesJustAsItsEnvironmentComesLeaksNothing(t *testing.T) {
	t.Parallel()
	h, _ := warmHouse(t, fastUV, 1)
	var usual atomic.Int64 // how long an environment takes to come
	usual.Store(int64(50 * time.Millisecond))
	var got, gone atomic.Int64
	moment := func() time.Duration { return time.Duration(float64(usual.Load()) * (0.3 + 1.4*rand.Float64())) }
	count := func(r rpc.AcquireResult, err error) {
		if err != nil {
			gone.Add(1)
			if k := rpc.KindOf(err); k == rpc.KindInternal || k == "" {
				t.Errorf("acquire: %v", err)
			}
			return
		}
		got.Add(1)
		if r.WaitedMS > 5 {
			usual.Store((usual.Load()*3 + r.WaitedMS*int64(time.Millisecond)) / 4)
		}
		if err := whole(r.Env.Path); err != nil {
			t.Error(err)
		}
	}
	ways := []func(owner *tenant){
		func(owner *tenant) { // its time is up
			count(ask[rpc.AcquireResult](h, rpc.MethodAcquire,
				rpc.AcquireParams{OwnerPID: new(owner.pid()), WaitMS: new(moment().Milliseconds())}))
		},
		func(owner *tenant) { // it cancels, and then asks whether it has got one after all
			c, err := rpc.Dial(context.Background(), h.socket, rpc.ClientOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			ctx, cancel := context.WithTimeout(context.Background(), moment())
			defer cancel()
			var r rpc.AcquireResult
			params := rpc.AcquireParams{OwnerPID: new(owner.pid()), Key: new("again"), WaitMS: new(int64(30_000))}
			if err = c.Call(ctx, rpc.MethodAcquire, params, &r); err == nil {
				count(r, nil)
				return
			}
			params.WaitMS = new(int64(0))
			count(ask[rpc.AcquireResult](h, rpc.MethodAcquire, params))
		},
		func(owner *tenant) { // it closes without a word
			nc, err := net.Dial("unix", h.socket)
			if err != nil {
				t.Error(err)
				return
			}
			fmt.Fprint(nc, line(1, rpc.MethodAcquire, rpc.AcquireParams{OwnerPID: new(owner.pid())}))
			time.Sleep(moment())
			nc.Close()
		},
		func(*tenant) { // it is killed
			s := h.stranger(t)
			fmt.Fprint(s.in, line(1, rpc.MethodAcquire, nil))
			time.Sleep(moment())
			s.kill()
		},
	}
	for i := range rounds(200, 2000) {
		owner := newTenant(t)
		var all sync.WaitGroup
		for _, way := range ways[i%2*2:][:2] {
			all.Go(func() { way(owner) })
		}
		all.Wait()
		if i%2 == 0 && len(h.folders()) > 12 {
			t.Errorf("round %d: %d folders", i, len(h.folders()))
		}
		owner.end()
		if i%20 == 19 {
			h.settled(1, time.Minute)
		}
	}
	h.settled(1, time.Minute)
	t.Logf("%d came in time, %d did not; an environment took %s", got.Load(), gone.Load(), time.Duration(usual.Load()))
	if got.Load() == 0 || gone.Load() == 0 {
		t.Error("the moments were not those in which an environment comes")
	}
}

func TestAClientThatGivesUpAndAsksAgainNeverHoldsTwo(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(gated("go"))
	h.configure(quickly + "2\n")
	h.start()
	params := rpc.AcquireParams{Key: new("mine"), OwnerPID: new(newTenantFor(t).pid())}
	for i := range 3 {
		c := h.dial()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		err := c.Call(ctx, rpc.MethodAcquire, params, nil)
		cancel()
		if rpc.KindOf(err) != rpc.KindTimeout {
			t.Fatalf("try %d: %v", i, err)
		}
	}
	h.open("go")
	first, second := h.acquire(params), h.acquire(params)
	if first.Env.ID != second.Env.ID {
		t.Errorf("it holds %s and %s", first.Env.ID, second.Env.ID)
	}
	h.filled("uv", time.Minute)
	if leased := h.ids(rpc.EnvLeased); len(leased) != 1 {
		t.Errorf("leased: %v", leased)
	}
	must[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: first.Env.ID})
	h.settled(2, time.Minute)
}

// newTenantFor is a tenant that ends with the test.
func newTenantFor(t *testing.T) *tenant {
	o := newTenant(t)
	t.Cleanup(o.end)
	return o
}

func TestWhoCameFirstIsServedFirst(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(gated("go"))
	h.configure("[build]\nparallel = 1\nmin_free = \"1MB\"\n[pools.uv]\nsize = 1\n")
	h.start()
	var waiters sync.WaitGroup
	owner := newTenantFor(t)
	for i := range 10 {
		waiters.Go(func() {
			_, err := ask[rpc.AcquireResult](h, rpc.MethodAcquire,
				rpc.AcquireParams{Label: new(fmt.Sprint(i)), OwnerPID: new(owner.pid())})
			if err != nil {
				t.Error(err)
			}
		})
		h.eventually(time.Minute, "it waits", func() bool { return h.pool("uv").Waiting == i+1 })
	}
	h.open("go")
	waiters.Wait()
	leased := must[rpc.EnvListResult](h, rpc.MethodEnvList, rpc.EnvListParams{State: new(rpc.EnvLeased)}).Envs
	slices.SortFunc(leased, func(a, b rpc.EnvListed) int { return a.Lease.Since.Compare(b.Lease.Since) })
	for i, e := range leased {
		if e.Lease.Label != fmt.Sprint(i) {
			t.Errorf("served as number %d: who came as number %s", i, e.Lease.Label)
		}
	}
	if len(leased) != 10 {
		t.Errorf("%d are leased", len(leased))
	}
}

// TestABurstIsServedWhileStatusAnswersAndNothingHeldIsRemoved also has what is released removed at once all the while,
// and looks at what it holds up to two seconds later.
func TestABurstIsServedWhileStatusAnswersAndNothingHeldIsRemoved(t *testing.T) {
	t.Parallel()
	h, _ := warmHouse(t, fastUV, 3)
	owner := newTenantFor(t)
	var mu sync.Mutex
	given := map[string]bool{}
	var clients sync.WaitGroup
	for i := range 250 {
		clients.Go(func() {
			r, err := ask[rpc.AcquireResult](h, rpc.MethodAcquire,
				rpc.AcquireParams{OwnerPID: new(owner.pid()), WaitMS: new(int64(170_000))})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			if given[r.Env.ID] {
				t.Errorf("%s was given twice", r.Env.ID)
			}
			given[r.Env.ID] = true
			mu.Unlock()
			time.Sleep(rand.N(2 * time.Second))
			if err := whole(r.Env.Path); err != nil {
				t.Errorf("%s is held: %v", r.Env.ID, err)
			}
			if i%2 == 0 {
				must[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: r.Env.ID})
			}
		})
	}
	done := make(chan struct{})
	go func() { clients.Wait(); close(done) }()
	var took []time.Duration
	for asking := true; asking; {
		began := time.Now()
		h.pool("uv")
		took = append(took, time.Since(began))
		if len(took)%10 == 0 {
			must[rpc.GCResult](h, rpc.MethodGC, nil)
		}
		select {
		case <-done:
			asking = false
		case <-time.After(50 * time.Millisecond):
		}
	}
	h.promptly(fmt.Sprintf("a burst, %d of it served", len(given)), took)
	owner.end()
	h.settled(3, time.Minute)
}

func TestAHundredAtOnceFromTwentyProcessesAllGetTheirOwn(t *testing.T) {
	t.Parallel()
	h, _ := warmHouse(t, fastUV, 5)
	ids := make(chan string, 100)
	var clients sync.WaitGroup
	for range 20 {
		s := h.stranger(t)
		clients.Go(func() {
			for i := range 5 {
				fmt.Fprint(s.in, line(i, rpc.MethodAcquire, rpc.AcquireParams{WaitMS: new(int64(170_000))}))
			}
			for range 5 {
				var a answer[rpc.AcquireResult]
				if err := s.out.Decode(&a); err != nil || a.Error != nil {
					t.Errorf("%v, %+v", err, a.Error)
					return
				}
				ids <- a.Result.Env.ID
			}
		})
	}
	clients.Wait()
	close(ids)
	given := slices.Sorted(func(yield func(string) bool) {
		for id := range ids {
			if !yield(id) {
				return
			}
		}
	})
	if all := len(slices.Compact(given)); all != 100 {
		t.Errorf("%d different environments", all)
	}
}

func TestAnEmptyPoolIsWaitedForOrSaysThatOneIsWarming(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(gated("go"))
	h.configure(quickly + "1\n")
	h.start()
	h.eventually(time.Minute, "a build runs", func() bool { return h.pool("uv").Warming == 1 })
	_, err := ask[rpc.AcquireResult](h, rpc.MethodAcquire, rpc.AcquireParams{WaitMS: new(int64(300))})
	var e *rpc.Error
	if !errors.As(err, &e) || e.Data.Kind != rpc.KindPoolEmpty || e.Data.Warming == nil || *e.Data.Warming < 1 {
		t.Errorf("acquire from an empty pool: %v", err)
	}
	time.AfterFunc(time.Second, func() { h.open("go") })
	if r := h.acquire(rpc.AcquireParams{WaitMS: new(int64(60_000))}); r.Source != rpc.SourceBuilt || r.WaitedMS < 500 {
		t.Errorf("acquired: %+v", r)
	}
	if _, err := ask[rpc.AcquireResult](h, rpc.MethodAcquire,
		rpc.AcquireParams{Pool: new("conda")}); rpc.KindOf(err) != rpc.KindPoolOff {
		t.Errorf("an acquire of conda: %v", err)
	}
}
