package pool

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"runtimed/internal/statedir"
	"runtimed/pool/builder"
	"runtimed/pool/standby"
)

// model is what the clients of a pool know, beside the pool itself. It runs with a fake clock, and a crash is one of
// its actions.
type model struct {
	*rapid.T
	w       *world
	held    map[string]holder // by id: environments that some client was told are its own
	rests   map[string]string // by id, the session: its owner has ended, and it may go on or be removed at any time
	over    map[string]bool   // ids whose lease has ended
	calls   []*call
	living  []int
	lastPID int
	damaged map[string]bool
	crashed bool // and not started yet
}

type holder struct {
	pid     int
	key     string
	session string
}

// call is an Acquire in flight.
type call struct {
	Request
	answer <-chan answer
	cancel context.CancelFunc
}

// pick draws one of a list; ok is false where it is empty.
func pick[E any](t *rapid.T, list []E, label string) (e E, ok bool) {
	if len(list) == 0 {
		return e, false
	}
	return rapid.SampledFrom(list).Draw(t, label), true
}

func (m *model) ids() []string { return slices.Sorted(maps.Keys(m.held)) }

func (m *model) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"acquire": func(t *rapid.T) {
			pid, _ := pick(t, m.living, "pid")
			r := request(pid,
				rapid.SampledFrom([]time.Duration{0, time.Second, time.Minute, 24 * time.Hour}).Draw(t, "wait"))
			r.Pool = rapid.SampledFrom([]string{"uv", "uv", "ml"}).Draw(t, "pool")
			r.Key = rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "key")
			r.Session = rapid.SampledFrom([]string{"", "", "s", "t"}).Draw(t, "session")
			r.Needs.Packages = rapid.SampledFrom([][]string{nil, nil, {"x"}, {"x", "y"}}).Draw(t, "needs")
			r.Standby = rapid.Bool().Draw(t, "standby")
			r.Linger = rapid.SampledFrom([]time.Duration{0, time.Second, time.Minute}).Draw(t, "linger")
			ctx, cancel := context.WithCancel(context.Background())
			m.calls = append(m.calls, &call{r, m.w.goGet(ctx, r), cancel})
		},
		"many acquire": func(t *rapid.T) {
			pid, _ := pick(t, m.living, "pid")
			for range 5 {
				ctx, cancel := context.WithCancel(context.Background())
				r := request(pid, time.Hour)
				m.calls = append(m.calls, &call{r, m.w.goGet(ctx, r), cancel})
			}
		},
		"cancel": func(t *rapid.T) {
			if c, ok := pick(t, m.calls, "call"); ok {
				c.cancel()
			}
		},
		"release": func(t *rapid.T) {
			if id, ok := pick(t, m.ids(), "id"); ok {
				if err := m.w.Release(context.Background(), id); err != nil {
					t.Fatalf("%s: %v", id, err)
				}
				m.ended(id)
			}
		},
		"adopt": func(t *rapid.T) {
			id, ok := pick(t, m.ids(), "id")
			if pid, _ := pick(t, m.living, "pid"); ok {
				if _, err := m.w.Adopt(context.Background(), id, pid); err != nil {
					t.Fatalf("%s: %v", id, err)
				}
				m.held[id] = holder{pid, m.held[id].key, m.held[id].session}
			}
		},
		"owner dies": func(t *rapid.T) {
			pid, _ := pick(t, m.living, "pid")
			m.living = slices.DeleteFunc(m.living, func(p int) bool { return p == pid })
			m.lastPID++
			m.living = append(m.living, m.lastPID)
			for _, c := range m.calls {
				if c.Owner.PID == pid {
					c.cancel()
				}
			}
			m.settle()
			m.w.p.End(pid)
			for id, h := range m.held {
				if h.pid == pid && !m.w.p.uses(id) {
					m.orphaned(id)
				}
			}
		},
		"a process begins": func(t *rapid.T) {
			if id, ok := pick(t, m.ids(), "id"); ok {
				m.w.p.use(id, true)
			}
		},
		"the processes end": func(*rapid.T) {
			for _, id := range m.ids() {
				m.w.p.use(id, false)
				if !slices.Contains(m.living, m.held[id].pid) {
					m.orphaned(id)
				}
			}
			m.w.pass(lookEvery)
		},
		"builds": func(t *rapid.T) {
			cause := rapid.SampledFrom([]string{"", "", builder.CauseNetwork, builder.CauseOther,
				builder.CauseToolMissing}).Draw(t, "fail")
			m.w.b.set(func() {
				m.w.b.takes = rapid.SampledFrom([]time.Duration{0, time.Second, time.Minute}).Draw(t, "takes")
				m.w.b.fail, m.w.b.extends = nil, nil
				if rapid.IntRange(0, 3).Draw(t, "extends") == 0 {
					m.w.b.extends = &builder.Error{Cause: builder.CauseNetwork, Message: "half way", Hint: "none"}
				}
				if cause != "" {
					m.w.b.fail = failing(cause)
				}
			})
		},
		"configure": func(t *rapid.T) {
			m.w.reconfigure(func(c *Config) {
				c.Pools[0].Size = rapid.IntRange(0, 3).Draw(t, "size")
				c.Pools[0].Standby = rapid.IntRange(0, 2).Draw(t, "standby")
				c.Pools[0].Spec = spec(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "package"))
				c.Pools = c.Pools[:1]
				if rapid.Bool().Draw(t, "ml") {
					c.Pools = append(c.Pools,
						PoolConfig{Name: "ml", Size: 1, Spec: spec("torch"), MaxAge: 48 * time.Hour, Standby: 1})
				}
			})
		},
		"flush": func(*rapid.T) { _, _ = m.w.Flush(context.Background(), "") },
		"gc":    func(*rapid.T) { _, _ = m.w.GC(context.Background(), false) },
		"time": func(t *rapid.T) {
			m.w.pass(rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour}).Draw(t, "d"))
		},
		"crash": func(*rapid.T) { m.restart() },
		"crash after a release": func(t *rapid.T) {
			if id, ok := pick(t, m.ids(), "id"); ok {
				m.w.p.use(id, true)
				if err := m.w.Release(context.Background(), id); err != nil {
					t.Fatalf("%s: %v", id, err)
				}
				m.ended(id)
				m.restart()
				m.w.p.use(id, false)
			}
		},
		"an extension fails, and perhaps the check after it": func(t *rapid.T) {
			err := &builder.Error{Cause: builder.CauseNetwork, Message: "half way", Hint: "none"}
			m.w.b.set(func() {
				m.w.b.takes, m.w.b.fail, m.w.b.extends, m.w.b.verify = 0, nil, err, nil
				if rapid.Bool().Draw(t, "check fails") {
					m.w.b.verify = errors.New("it is not as it was")
				}
			})
			m.w.pass(time.Minute)
			pid, _ := pick(t, m.living, "pid")
			r := request(pid, time.Hour)
			r.Needs.Packages = []string{"z"}
			ctx, cancel := context.WithCancel(context.Background())
			m.calls = append(m.calls, &call{r, m.w.goGet(ctx, r), cancel})
			m.w.pass(time.Minute)
			m.w.b.set(func() { m.w.b.extends, m.w.b.verify = nil, nil })
		},
		"a standby ends, refuses or becomes a kernel": func(t *rapid.T) {
			s, ok := pick(t, m.w.living(), "standby")
			if !ok {
				return
			}
			switch rapid.IntRange(0, 3).Draw(t, "how") {
			case 0:
				s.tell(standby.Event{Ended: true})
			case 1:
				s.tell(standby.Event{Refused: "no", Wanted: map[string]*string{"LANG": nil}})
			default:
				id := filepath.Base(s.dir)
				if h, held := m.held[id]; held && s.handedOut(m.w) {
					s.tell(standby.Event{Adopted: true})
					m.held[id] = holder{s.pid, h.key, h.session}
					m.living = append(m.living, s.pid)
				}
			}
			m.w.pass(time.Second)
		},
		"damage": func(t *rapid.T) {
			if id, ok := pick(t, m.w.ids(Ready), "id"); ok {
				m.damaged[id] = true
				_ = os.Remove(filepath.Join(m.w.store.Env(id), "kernel.py"))
			}
		},
		"": func(*rapid.T) { m.settle(); m.check() },
	}
}

func (m *model) restart() {
	m.w.crash()
	m.crashed = true
	m.settle() // what was answered before the crash holds
	m.crashed = false
	m.w.start()
	for id, h := range m.held {
		if !slices.Contains(m.living, h.pid) && !m.w.p.uses(id) {
			m.orphaned(id)
		}
	}
}

func (m *model) ended(id string) {
	delete(m.held, id)
	delete(m.rests, id)
	m.over[id] = true
}

// loses says whether an answer never reaches its client, and the daemon sees that. One that has crashed does not.
func (m *model) loses() bool { return !m.crashed && rapid.IntRange(0, 9).Draw(m.T, "reaches") == 0 }

// orphaned is ended, but that a session may come back for it.
func (m *model) orphaned(id string) {
	session := m.held[id].session
	m.ended(id)
	if session != "" {
		m.rests[id] = session
		delete(m.over, id)
	}
}

// settle takes the answers that are there. Some of them never reach their client.
func (m *model) settle() {
	synctest.Wait()
	m.calls = slices.DeleteFunc(m.calls, func(c *call) bool {
		if len(c.answer) == 0 {
			return false
		}
		c.cancel()
		a := <-c.answer
		if a.err != nil {
			return true
		}
		id := a.Env.ID
		h, held := m.held[id]
		rest, rests := m.rests[id]
		switch {
		case m.over[id]:
			m.Fatalf("%s was used before", id)
		case a.Resumed && rests && rest == c.Session, a.Resumed && held && h.session == c.Session &&
			!slices.Contains(m.living, h.pid):
			delete(m.rests, id)
			m.held[id] = holder{c.Owner.PID, c.Key, c.Session}
			if m.loses() {
				m.w.Undelivered(id) // and it stays with who does not know of it
			}
			return true
		case a.Resumed, rests:
			m.Fatalf("%s was %+v, rests for %q and was given to %+v", id, h, rest, c.Request)
		case held && (h.pid != c.Owner.PID || h.key == "" || h.key != c.Key):
			m.Fatalf("%s is held by %+v and was given to %+v", id, h, c.Request)
		case m.damaged[id]:
			m.Fatalf("%s is damaged and was given", id)
		}
		if m.loses() {
			m.w.Undelivered(id)
			return true
		}
		m.held[id] = holder{c.Owner.PID, c.Key, c.Session}
		return true
	})
	synctest.Wait()
}

func TestWhateverHappensNothingIsGivenTwiceOrLost(t *testing.T) {
	var mu sync.Mutex
	taken := map[[2]State]bool{}
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp("", "model")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		var failed any // rapid ends a run by a panic, which is to happen outside of the bubble
		synctest.Test(t, func(t *testing.T) {
			defer func() { failed = recover() }()
			cfg := sized(2)
			if cfg.Dir = filepath.Join(dir, "state"); statedir.SocketIsFile {
				cfg.Sockets = dir
			}
			cfg.Pools[0].Standby = 1
			w := &world{
				T: t, cfg: cfg, b: &fakeBuilder{}, p: newProcs(),
				moved: func(from, to State) {
					mu.Lock()
					defer mu.Unlock()
					taken[[2]State{from, to}] = true
				},
			}
			m := &model{T: rt, w: w, held: map[string]holder{}, rests: map[string]string{}, over: map[string]bool{},
				damaged: map[string]bool{}, living: []int{1, 2, 3}, lastPID: 3}
			w.start()
			defer func() {
				for _, c := range m.calls {
					c.cancel()
				}
				_ = w.Stop(context.Background())
			}()
			rt.Repeat(m.actions())
			m.End()
		})
		if failed != nil {
			panic(failed)
		}
	})
	for from, all := range transitions {
		for _, to := range all {
			if !taken[[2]State{from, to}] && !slowFiles { // then too few are tried
				t.Errorf("no environment went from %q to %q", from, to)
			}
		}
	}
}
