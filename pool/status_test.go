package pool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"runtimed/internal/proc"
	"runtimed/pool/builder"
)

// watching collects what a watch tells.
type watching struct {
	mu   sync.Mutex
	seen []Status
	at   []time.Time
	gone []string
	deaf bool
}

func (c *watching) add(s Status, gone bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deaf {
		return false
	}
	c.seen, c.at = append(c.seen, s), append(c.at, time.Now())
	if gone {
		c.gone = append(c.gone, s.Name)
	}
	return true
}

func (c *watching) last() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[len(c.seen)-1]
}

func TestAWatchTellsEachChangeAtMostTenTimesASecondAndTheLastAlways(t *testing.T) {
	longHere(t)
	inBubble(t, sized(3), func(w *world) {
		w.settled()
		ctx, cancel := context.WithCancel(context.Background())
		var c watching
		first, err := w.Watch(ctx, 100*time.Millisecond, c.add)
		if err != nil || len(first) != 1 || first[0].Available != 3 {
			t.Fatalf("%+v, %v", first, err)
		}
		if w.pass(time.Hour); len(c.seen) != 0 {
			t.Errorf("seen without a change: %+v", c.seen)
		}
		for range 200 {
			got := w.get(1)
			w.pass(7 * time.Millisecond)
			w.release(got.Env.ID)
		}
		w.pass(time.Minute)
		if got := c.last(); got.Available != 3 || got.Warming+got.Leased+got.Removing != 0 {
			t.Errorf("the last is %+v", got)
		}
		if len(c.seen) < 10 {
			t.Errorf("seen %d times", len(c.seen))
		}
		for i := 1; i < len(c.at); i++ {
			if d := c.at[i].Sub(c.at[i-1]); d < 100*time.Millisecond {
				t.Errorf("%s between two", d)
			}
		}
		n := len(c.seen)
		c.mu.Lock()
		c.deaf = true // the connection does not take it now
		c.mu.Unlock()
		w.get(1)
		w.pass(time.Minute)
		c.mu.Lock()
		c.deaf = false
		c.mu.Unlock()
		w.pass(time.Second)
		if got := c.last(); len(c.seen) != n+1 || got.Leased != 1 {
			t.Errorf("%d seen, the last is %+v", len(c.seen)-n, got)
		}
		cancel()
		w.settled()
		w.get(1)
		if w.pass(time.Second); len(c.seen) != n+1 {
			t.Error("seen after the end")
		}
	})
}

func TestAWatchTellsOfFailures(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.settled()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var c watching
		if _, err := w.Watch(ctx, 100*time.Millisecond, c.add); err != nil {
			t.Fatal(err)
		}
		w.b.set(func() { w.b.fail = failing(builder.CauseNetwork) })
		w.get(1)
		w.pass(5 * time.Second)
		if got := c.last(); got.State != "failing" || got.Error == nil || got.Error.Cause != builder.CauseNetwork {
			t.Errorf("the last is %+v", got)
		}
		w.b.set(func() { w.b.fail = nil })
		w.pass(time.Minute)
		if got := c.last(); got.State != "ready" || got.Error != nil {
			t.Errorf("the last is %+v", got)
		}
	})
}

func TestAWatchTellsOfPoolsThatComeAndGo(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var c watching
		if _, err := w.Watch(ctx, 100*time.Millisecond, c.add); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Second)
		w.reconfigure(func(c *Config) {
			c.Pools = append(c.Pools, PoolConfig{Name: "ml", Size: 1, Spec: spec("torch")})
		})
		w.pass(time.Second)
		if got := c.last(); got.Name != "ml" || got.Available != 1 {
			t.Errorf("the last is %+v", got)
		}
		w.reconfigure(func(c *Config) { c.Pools = c.Pools[:1] })
		w.pass(time.Minute)
		if !slices.Equal(c.gone, []string{"ml"}) {
			t.Errorf("gone are %v", c.gone)
		}
	})
}

func TestStatusAndListTellWhatThereIs(t *testing.T) {
	cfg := sized(1)
	cfg.Pools[0].Spec = builder.Spec{Kind: builder.KindUV, Python: "3.13",
		Packages: []string{"ipykernel", "mine @ https://me:secret@host/mine.whl"}}
	cfg.Pools = append(cfg.Pools, PoolConfig{Name: "conda", Spec: builder.Spec{Kind: builder.KindConda}})
	inBubble(t, cfg, func(w *world) {
		w.settled()
		r := request(1, time.Hour)
		r.Label = "nb"
		got, err := w.Acquire(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		w.pass(time.Minute)
		list, err := w.Status(context.Background(), "")
		if err != nil || len(list) != 2 || list[0].Name != "uv" || list[1].Name != "conda" || list[1].State != "off" {
			t.Errorf("%+v, %v", list, err)
		}
		if want := []string{"ipykernel", "mine @ https://***@host/mine.whl"}; !slices.Equal(list[0].Packages, want) {
			t.Errorf("the packages are %q", list[0].Packages)
		}
		var unknown *UnknownPoolError
		if _, err := w.Status(context.Background(), "nope"); !errors.As(err, &unknown) ||
			!slices.Equal(unknown.Pools, []string{"uv", "conda"}) {
			t.Error(err)
		}
		infos, err := w.List(context.Background(), "uv", "")
		if err != nil || len(infos) != 2 || infos[0].ID != got.Env.ID || infos[0].Lease.Label != "nb" ||
			!infos[0].Alive || infos[1].Alive {
			t.Errorf("%+v, %v", infos, err)
		}
		if infos, err := w.List(context.Background(), "conda", ""); err != nil || infos == nil || len(infos) != 0 {
			t.Errorf("%+v, %v", infos, err)
		}
		if _, err := w.List(context.Background(), "nope", ""); !errors.As(err, &unknown) {
			t.Error(err)
		}
	})
}

func TestCallsWaitUntilTheDiskHasBeenReadAndNoLonger(t *testing.T) {
	cfg := sized(1)
	cfg.Dir = t.TempDir()
	m, err := New(cfg, nil, nop)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := m.Status(ctx, ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := m.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if _, err := m.Status(context.Background(), ""); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// TestTheListWaitsForNoDisk has a look at processes hang, which a list in its way would wait for.
func TestTheListWaitsForNoDisk(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.settled()
		got := w.get(1).Env
		list := func() Info {
			t.Helper()
			began := time.Now()
			infos, err := w.List(context.Background(), "", Leased)
			if err != nil || len(infos) != 1 || time.Since(began) != 0 {
				t.Fatalf("%+v, %v after %s", infos, err, time.Since(began))
			}
			return infos[0]
		}
		built := list().SizeBytes
		if err := os.WriteFile(filepath.Join(got.Path, "more"), make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		w.pass(sizeFresh + time.Second)
		if now := list().SizeBytes; built <= 0 || now != built {
			t.Errorf("%d bytes when it was built, and %d in the list that has it measured", built, now)
		}
		w.settled()
		if now := list().SizeBytes; now < built+1<<20 {
			t.Errorf("%d bytes after it grew by 1 MiB", now)
		}
		if err := os.WriteFile(filepath.Join(got.Path, "again"), make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		w.pass(sizeEvery + time.Minute) // and nobody asks
		if now := list().SizeBytes; now < built+2<<20 {
			t.Errorf("%d bytes some minutes after it grew again", now)
		}

		hang := make(chan struct{})
		users := w.procs.Users
		w.procs.Users = func(dir string, held map[string]proc.Owner) (map[string]proc.Process, error) {
			<-hang
			return users(dir, held)
		}
		w.p.End(1)
		w.pass(time.Second)
		if !list().Alive {
			t.Error("nobody knows yet whether a process runs from it, and it counts as left")
		}
		close(hang)
		w.settled()
		if ids := w.ids(Leased); len(ids) != 0 {
			t.Errorf("leased: %v", ids)
		}
	})
}
