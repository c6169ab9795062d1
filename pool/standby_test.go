package pool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"runtimed/internal/statedir"
	"runtimed/internal/testkit"
	"runtimed/pool/builder"
	"runtimed/pool/standby"
)

// fakeStandby is the process of a standby kernel that does what the test says.
type fakeStandby struct {
	pid    int
	dir    string // of its environment
	built  bool   // it is the import check of a build
	wanted map[string]*string

	mu      sync.Mutex
	path    string // once it stays
	preload []string
	event   func(standby.Event)
	ended   bool
}

func (s *fakeStandby) PID() int { return s.pid }

func (s *fakeStandby) Stay(l *net.UnixListener, path string, preload []string, event func(standby.Event)) error {
	_ = l.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.path, s.preload, s.event = path, preload, event
	if !slices.Contains(preload, "slow") {
		go event(standby.Event{Ready: true})
	}
	return nil
}

// End ends it, and it says so; one that is a kernel goes on.
func (s *fakeStandby) End() { s.tell(standby.Event{Ended: true}) }

// tell has it tell something, as long as it lives.
func (s *fakeStandby) tell(e standby.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	event := s.event
	if s.ended || event == nil {
		s.ended = true
		return
	}
	s.ended = e.Ended || e.Adopted
	if e.Adopted {
		_ = os.Remove(s.path)
	}
	go event(e)
	if e.Refused != "" {
		s.ended = true
		go func() {
			time.Sleep(time.Millisecond)
			event(standby.Event{Ended: true})
		}()
	}
}

func (s *fakeStandby) lives() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.ended
}

// env is the environment that has it, or nil.
func (s *fakeStandby) env(w *world) (found *env) {
	w.view(func() {
		for _, e := range w.envs {
			if e.standby != nil && e.standby.process == builder.Process(s) {
				found = e
			}
		}
	})
	return found
}

func (s *fakeStandby) handedOut(w *world) bool {
	e := s.env(w)
	return e != nil && !e.standby.handed.IsZero()
}

// stand is the import check of a build, or the start of a standby in a finished environment.
func (b *fakeBuilder) stand(ctx context.Context, dir string, built bool) error {
	kept := builder.KeptIn(ctx)
	if kept == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.noStandby != nil {
		return b.noStandby
	}
	s := &fakeStandby{pid: 10_001 + len(b.standbys), dir: dir, built: built, wanted: kept.Wanted}
	b.standbys = append(b.standbys, s)
	kept.Leave(s)
	return nil
}

// living are the standbys that have not ended.
func (w *world) living() (list []*fakeStandby) {
	w.settled()
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	for _, s := range w.b.standbys {
		if s.lives() {
			list = append(list, s)
		}
	}
	return list
}

// one is the only standby that lives.
func (w *world) one() *fakeStandby {
	w.Helper()
	list := w.living()
	if len(list) != 1 {
		w.Fatalf("%d standbys live", len(list))
	}
	return list[0]
}

// withStandbys is a configuration with a pool of size environments of which n hold a standby.
func withStandbys(size, n int) Config {
	cfg := sized(size)
	cfg.Pools[0].Standby = n
	return cfg
}

// onStandby runs f with a Manager that has standbys.
func onStandby(t *testing.T, cfg Config, f func(*world)) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("there are none")
	}
	dir, err := os.MkdirTemp("", "st") // a socket's path must be short
	testkit.Check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cfg.Sockets = dir
	inBubbleWith(t, cfg, &fakeBuilder{}, func(w *world) {
		w.settled()
		f(w)
	})
}

func (w *world) sockets() []string {
	w.Helper()
	entries, err := os.ReadDir(w.cfg.Sockets)
	testkit.Check(w, err)
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func asking(pid int) Request {
	r := request(pid, time.Hour)
	r.Standby = true
	return r
}

func TestAReadyPoolHasAStandbyWhichCostsItsBuildNothing(t *testing.T) {
	onStandby(t, withStandbys(3, 1), func(w *world) {
		s := w.one()
		w.want(3, 0, 0, 0)
		if got := w.status().Standby; !s.built || got.Ready != 1 || got.Target != 1 || got.Why != "" {
			t.Errorf("%+v, %+v", s, got)
		}
		name := statedir.StandbyName(filepath.Base(s.dir))
		info, err := os.Stat(s.path)
		if names := w.sockets(); err != nil || !slices.Equal(names, []string{name}) || s.path !=
			filepath.Join(w.cfg.Sockets, name) || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v, %v", err, names, info)
		}
	})
}

func TestWhoCanUseAStandbyGetsOneAndTheNextStartsAfterTheirKernelHas(t *testing.T) {
	onStandby(t, withStandbys(2, 1), func(w *world) {
		s := w.one()
		got := w.mustGet(asking(1))
		if got.Standby == nil || *got.Standby != (Standby{s.pid, s.path}) || got.Env.Path != s.dir {
			t.Fatalf("%+v", got.Standby)
		}
		if list := w.living(); len(list) != 1 {
			t.Errorf("%d standbys beside the kernel that starts", len(list))
		}
		w.pass(refillPause - time.Millisecond)
		if list := w.living(); len(list) != 1 {
			t.Errorf("%d standbys beside the kernel that starts", len(list))
		}
		w.pass(time.Millisecond)
		if list := w.living(); len(list) != 2 || list[1].dir == s.dir {
			t.Errorf("%d standbys", len(list))
		}
		s.tell(standby.Event{Adopted: true})
		w.settled()
		list, err := w.List(context.Background(), "", Leased)
		if err != nil || len(list) != 1 || list[0].Lease.Owner != ownerNo(s.pid) {
			t.Errorf("%v, %+v", err, list)
		}
		w.pass(time.Hour)
		w.want(2, 0, 1, 0)
		w.p.End(s.pid)
		w.pass(lookEvery)
		w.want(2, 0, 0, 0)
	})
}

func TestAStandbyGoesToThoseWhoUseItAndOtherEnvironmentsToTheOthers(t *testing.T) {
	onStandby(t, withStandbys(2, 1), func(w *world) {
		s := w.one()
		if got := w.get(1); got.Env.Path == s.dir || got.Standby != nil {
			t.Errorf("who has no use for it gets %+v", got.Standby)
		}
		if !s.lives() {
			t.Fatal("it has ended")
		}
		if got := w.get(2); got.Env.Path != s.dir || got.Standby != nil || s.lives() || len(w.sockets()) != 0 {
			t.Errorf("%+v, lives: %t, sockets: %v", got, s.lives(), w.sockets())
		}
	})
}

func TestNothingButABaseEnvironmentGivesAStandby(t *testing.T) {
	onStandby(t, withStandbys(1, 1), func(w *world) {
		r := asking(1)
		r.Session, r.Linger, r.Key = "nb", time.Minute, "k"
		first := w.mustGet(r)
		if first.Standby == nil {
			t.Fatal("there is none")
		}
		w.one().tell(standby.Event{Adopted: true})
		w.settled()
		w.p.End(10_001) // the kernel, to be restarted
		w.pass(lookEvery)
		again := asking(2)
		again.Session, again.Linger = "nb", time.Minute
		if got := w.mustGet(again); !got.Resumed || got.Standby != nil {
			t.Errorf("a resumed session gets %+v", got)
		}
		needy := asking(3)
		needy.Needs.Packages = []string{"rich"}
		if got := w.mustGet(needy); got.Standby != nil {
			t.Errorf("with needs: %+v", got.Standby)
		}
		w.pass(time.Minute)
		for _, s := range w.living() {
			if filepath.Base(s.dir)[:3] != "uv-" {
				t.Errorf("a standby in %s", s.dir)
			}
		}
		if list := w.living(); len(list) != 1 {
			t.Errorf("%d standbys", len(list))
		}
	})
}

func TestAStandbyEndsWithWhatItIsFor(t *testing.T) {
	for what, do := range map[string]func(w *world){
		"a flush":     func(w *world) { _, _ = w.Flush(context.Background(), "") },
		"its release": func(w *world) { w.release(w.mustGet(asking(1)).Env.ID) },
		"another preload": func(w *world) {
			w.reconfigure(func(c *Config) { c.Pools[0].Preload = []string{"numpy"} })
		},
		"no standby configured": func(w *world) { w.reconfigure(func(c *Config) { c.Pools[0].Standby = 0 }) },
		"other packages":        func(w *world) { w.reconfigure(func(c *Config) { c.Pools[0].Spec = spec("b") }) },
		"the pool is off":       func(w *world) { w.reconfigure(func(c *Config) { c.Pools[0].Size = 0 }) },
		"the pool is gone":      func(w *world) { w.reconfigure(func(c *Config) { c.Pools = nil }) },
		"the end of the daemon": func(w *world) { w.Close() },
		"nobody has come for long": func(w *world) {
			w.reconfigure(func(c *Config) { c.StandbyIdle = time.Hour })
			w.pass(time.Hour + time.Minute)
		},
		"too little memory": func(w *world) {
			w.set(func() { w.shortage = "no memory" })
			w.pass(time.Minute)
		},
		"the pool is gone after it was handed out": func(w *world) {
			w.mustGet(asking(1))
			w.reconfigure(func(c *Config) { c.Pools = nil })
			w.pass(orderTime)
		},
		"its owner ends before the order": func(w *world) {
			got := w.mustGet(asking(1))
			w.p.End(1)
			w.pass(lookEvery)
			if slices.Contains(w.folders(), got.Env.ID) {
				w.Error("its environment is still there")
			}
		},
		"no order comes": func(w *world) {
			w.mustGet(asking(1))
			w.pass(orderTime - time.Millisecond)
			if !w.b.standbys[0].lives() {
				w.Error("it ends early")
			}
			w.pass(time.Millisecond)
			w.want(1, 0, 1, 0)
		},
	} {
		t.Run(what, func(t *testing.T) {
			onStandby(t, withStandbys(1, 1), func(w *world) {
				s := w.one()
				do(w)
				if w.settled(); s.lives() {
					t.Error("it lives on")
				}
				if name := filepath.Base(s.path); what != "another preload" && slices.Contains(w.sockets(), name) {
					t.Error("its socket is still there")
				}
				for _, other := range w.living() {
					if other.dir == s.dir && !slices.Equal(other.preload, []string{"numpy"}) {
						t.Errorf("one with %v lives in %s", other.preload, other.dir)
					}
				}
			})
		})
	}
}

func TestStandbysComeBackWithTheirReason(t *testing.T) {
	for what, c := range map[string]struct {
		config        func(*Config)
		away, back    func(w *world)
		why           string
		duringAcquire bool
	}{
		"memory": {
			away: func(w *world) { w.set(func() { w.shortage = "only 7 MiB of memory are free" }) },
			back: func(w *world) {
				w.set(func() { w.shortage = "" })
				w.pass(scarcePause - 2*time.Minute)
				if n := len(w.living()); n != 0 {
					w.Errorf("%d standbys use what their end has freed", n)
				}
				w.pass(2 * time.Minute)
			},
			why: "only 7 MiB of memory are free",
		},
		"somebody who asks": {
			config: func(c *Config) { c.StandbyIdle = time.Hour },
			away:   func(w *world) { w.pass(time.Hour) },
			back: func(w *world) {
				if got := w.mustGet(asking(1)); got.Standby != nil {
					w.Errorf("it gets %+v", got.Standby)
				}
			},
			why: "nobody has asked for an environment for 1h0m0s (standby_idle)",
		},
		"somebody who looks": {
			config: func(c *Config) { c.StandbyIdle = time.Hour },
			away:   func(w *world) { w.pass(time.Hour) },
			back: func(w *world) {
				_, err := w.Watch(context.Background(), time.Second, func(Status, bool) bool { return true })
				testkit.Check(w, err)
				w.pass(3 * time.Hour) // and stays
			},
			why: "nobody has asked for an environment for 1h0m0s (standby_idle)",
		},
		"the number": {
			away: func(w *world) { w.reconfigure(func(c *Config) { c.Pools[0].Standby = 0 }) },
			back: func(w *world) { w.reconfigure(func(c *Config) { c.Pools[0].Standby = 1 }) },
		},
	} {
		t.Run(what, func(t *testing.T) {
			cfg := withStandbys(2, 1)
			if c.config != nil {
				c.config(&cfg)
			}
			onStandby(t, cfg, func(w *world) {
				w.one()
				c.away(w)
				w.pass(time.Minute)
				if n := len(w.living()); n != 0 {
					t.Errorf("%d standbys live", n)
				}
				if s := w.status().Standby; s.Ready != 0 || s.Why != c.why {
					t.Errorf("%+v", s)
				}
				c.back(w)
				w.pass(time.Minute)
				w.one()
				if s := w.status().Standby; s.Ready != 1 || s.Why != "" {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

func TestAStandbyThatCannotBeHadIsTriedAgainAndFailsNothing(t *testing.T) {
	cfg := withStandbys(2, 1)
	onStandby(t, cfg, func(w *world) {
		s := w.one()
		w.b.set(func() { w.b.noStandby = errors.New("no such module") })
		s.tell(standby.Event{Ended: true, Output: "Traceback:\nImportError: boom"})
		w.want(2, 0, 0, 0)
		if got := w.status(); got.Standby.Why != "it ended by itself: ImportError: boom" || got.Error != nil {
			t.Errorf("%+v", got)
		}
		w.pass(standbyPause)
		if got := w.status(); got.Standby.Why != "no such module" || got.Error != nil {
			t.Errorf("%+v", got.Standby)
		}
		if got := w.mustGet(asking(1)); got.Standby != nil || got.Waited != 0 {
			t.Errorf("%+v", got)
		}
		began := time.Now()
		for n := 2; time.Since(began) < 24*time.Hour; n++ { // each pause is twice the one before, up to an hour
			w.pass(min(standbyPause<<min(n-1, 10), longestPause) - time.Second)
			w.b.set(func() { w.b.noStandby = fmt.Errorf("no such module, %d", n) })
			if got := w.status().Standby.Why; got == fmt.Sprintf("no such module, %d", n) {
				t.Fatalf("number %d came early", n)
			}
			w.pass(time.Second)
			if got := w.status().Standby.Why; got != fmt.Sprintf("no such module, %d", n) {
				t.Fatalf("number %d did not come: %s", n, got)
			}
		}
		w.b.set(func() { w.b.noStandby = nil })
		w.pass(longestPause)
		w.one()
		w.want(2, 0, 1, 0)
		if got := w.status().Standby; got.Ready != 1 || got.Why != "" {
			t.Errorf("%+v", got)
		}
	})
}

func TestOneStandbyThatFailsTakesNoOtherAlong(t *testing.T) {
	onStandby(t, withStandbys(2, 2), func(w *world) {
		list := w.living()
		if len(list) != 2 {
			t.Fatalf("%d standbys", len(list))
		}
		list[0].tell(standby.Event{Ended: true})
		if !list[1].lives() || w.one() != list[1] {
			t.Error("the other one ended too")
		}
		if got := w.status().Standby; got.Ready != 1 {
			t.Errorf("%+v", got)
		}
		w.pass(standbyPause)
		if n := len(w.living()); n != 2 {
			t.Errorf("%d standbys", n)
		}
	})
}

// value is a variable that is set.
func value(s string) *string { return &s }

func TestTheNextStandbyStartsWithTheVariablesOfThoseWhoWereRefused(t *testing.T) {
	shown := func(wanted map[string]*string) string {
		text := ""
		for _, name := range []string{"LANG", "OMP_NUM_THREADS", "PYTHONPATH"} {
			if v, ok := wanted[name]; ok && v != nil {
				text += name + "=" + *v + " "
			} else if ok {
				text += "no " + name + " "
			}
		}
		return text
	}
	onStandby(t, withStandbys(1, 1), func(w *world) {
		pid := 0
		for _, step := range []struct {
			refused standby.Event
			next    string
		}{
			{standby.Event{Refused: "a", Wanted: map[string]*string{"LANG": value("C"), "PYTHONPATH": nil}},
				"LANG=C no PYTHONPATH "},
			// Each says only what differs from the one that it was refused by.
			{standby.Event{Refused: "b", Wanted: map[string]*string{"OMP_NUM_THREADS": value("2")}},
				"LANG=C OMP_NUM_THREADS=2 no PYTHONPATH "},
			{standby.Event{Refused: "it is in another namespace", Wanted: map[string]*string{}},
				"LANG=C OMP_NUM_THREADS=2 no PYTHONPATH "},
			{standby.Event{Refused: "no more", Wanted: map[string]*string{"LANG": nil, "PYTHONPATH": value("x")}},
				"no LANG OMP_NUM_THREADS=2 PYTHONPATH=x "},
		} {
			s := w.one()
			pid++
			w.mustGet(asking(pid))
			s.tell(step.refused)
			w.pass(time.Minute)
			if s := w.one(); shown(s.wanted) != step.next || s.built {
				t.Errorf("after %s it starts with %s, of a build: %t", step.refused.Refused, shown(s.wanted), s.built)
			}
			if why := w.status().Standby.Why; why != "the last caller could not have one: "+step.refused.Refused {
				t.Errorf("why is %q", why)
			}
		}
	})
}

func TestVariablesThatNoStandbyCanHaveAreForgotten(t *testing.T) {
	onStandby(t, withStandbys(2, 1), func(w *world) {
		w.mustGet(asking(1))
		w.b.standbys[0].tell(standby.Event{Refused: "a", Wanted: map[string]*string{"LD_PRELOAD": value("nothing")}})
		w.pass(time.Second)
		if s := w.one(); len(s.wanted) != 1 {
			t.Errorf("it starts with %v", s.wanted)
		} else {
			s.tell(standby.Event{Ended: true, Output: "cannot be preloaded"})
		}
		w.pass(standbyPause)
		if s := w.one(); len(s.wanted) != 0 {
			t.Errorf("after a failure it starts with %v", s.wanted)
		}
	})
}

func TestAModuleThatIsNotImportedInTimeCostsOnlyTheStandby(t *testing.T) {
	cfg := withStandbys(2, 1)
	cfg.Pools[0].Preload = []string{"slow"}
	onStandby(t, cfg, func(w *world) {
		s := w.one()
		if got := w.status().Standby; got.Ready != 0 {
			t.Errorf("%+v", got)
		}
		if got := w.mustGet(asking(1)); got.Standby != nil || got.Env.Path == s.dir {
			t.Errorf("%+v", got)
		}
		s.tell(standby.Event{Ready: true, Faults: []string{"nope cannot be imported"}})
		w.settled()
		if got := w.status().Standby; got.Ready != 1 || !slices.Equal(got.Faults, []string{"nope cannot be imported"}) {
			t.Errorf("%+v", got)
		}
		if said := w.said("nope cannot be imported"); len(said) != 1 {
			t.Errorf("the log has %v", said)
		}
		if got := w.mustGet(asking(2)); got.Standby == nil {
			t.Error("it is not given")
		}
		w.pass(time.Minute)
		s = w.one()
		w.pass(w.cfg.BuildTimeout)
		if s.lives() {
			t.Error("it may import for ever")
		}
	})
}

func TestAnAnswerThatNobodyGetsLeavesTheStandbyToTheNext(t *testing.T) {
	onStandby(t, withStandbys(1, 1), func(w *world) {
		s := w.one()
		got := w.mustGet(asking(1))
		w.Undelivered(got.Env.ID)
		again := w.mustGet(asking(2))
		if again.Env.ID != got.Env.ID || again.Standby == nil || again.Standby.PID != s.pid || !s.lives() {
			t.Errorf("%+v, %+v", again.Env.ID, again.Standby)
		}
	})
}

func TestADaemonThatStopsWhileAStandbyStartsLeavesNone(t *testing.T) {
	onStandby(t, withStandbys(1, 1), func(w *world) {
		s := w.one()
		w.crash()
		if s.lives() || len(w.sockets()) != 0 {
			t.Error("it lives on")
		}
		w.start()
		w.settled()
		if next := w.one(); next.built || next.dir != s.dir {
			t.Errorf("after a restart it is %+v", next)
		}
	})
}

func TestWhatIsNotAStandbysSocketIsNeitherRemovedNorInTheWay(t *testing.T) {
	cfg := withStandbys(1, 0)
	onStandby(t, cfg, func(w *world) {
		path := filepath.Join(w.cfg.Sockets, statedir.StandbyName(w.ids(Ready)[0]))
		stands := func(what string, want bool) {
			t.Helper()
			w.reconfigure(func(c *Config) { c.Pools[0].Standby = 1 })
			w.pass(time.Second)
			if n := len(w.living()); (n == 1) != want {
				t.Errorf("with %s there are %d standbys: %+v", what, n, w.status().Standby)
			}
			w.want(1, 0, 0, 0)
			w.reconfigure(func(c *Config) { c.Pools[0].Standby = 0 })
			w.settled()
		}
		testkit.Check(t, os.WriteFile(path, []byte("precious"), 0o600))
		stands("a file", false)
		if data, err := os.ReadFile(path); string(data) != "precious" {
			t.Errorf("%q, %v", data, err)
		}
		testkit.Check(t, os.Remove(path))

		theirs, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		testkit.Check(t, err)
		theirs.SetUnlinkOnClose(false)
		stands("a living socket", false)
		if statedir.SocketIsDead(path) || !fileExists(path) {
			t.Error("a living socket was removed")
		}
		testkit.Check(t, theirs.Close())
		stands("a dead socket", true)
		if names := w.sockets(); len(names) != 0 {
			t.Errorf("there are %v", names)
		}
	})
}

func fileExists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestAPathThatIsTooLongForASocketCostsNoStart(t *testing.T) {
	cfg := withStandbys(1, 1)
	onStandby(t, cfg, func(w *world) {
		w.one()
		w.crash()
		long := filepath.Join(w.cfg.Sockets, fmt.Sprintf("%0120d", 0))
		testkit.Check(t, os.Mkdir(long, 0o700))
		w.cfg.Sockets = long
		before := len(w.b.standbys)
		w.start()
		w.pass(10 * time.Minute)
		if n := len(w.b.standbys); n != before {
			t.Errorf("%d standbys were started", n-before)
		}
		if s := w.status().Standby; s.Why == "" {
			t.Errorf("%+v", s)
		}
	})
}
