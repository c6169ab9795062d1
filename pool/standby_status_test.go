package pool

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"runtimed/pool/standby"
)

// withStandbys is a configuration with one pool of one environment, which is to hold a standby.
func withStandbys() Config {
	cfg := sized(1)
	cfg.Sockets, cfg.StandbyIdle, cfg.Pools[0].Standby = "/nowhere", time.Hour, 1
	return cfg
}

// stands has the only environment hold a standby that waits for its order, as far as the Manager can tell.
func (w *world) stands() (*env, *standing) {
	w.Helper()
	s := &standing{process: &standby.Process{PID: 1 << 30}, ready: true}
	var e *env
	w.view(func() {
		for _, e = range w.envs {
			e.standby = s
		}
	})
	return e, s
}

// forget has the Manager stop without a look at processes that there are not.
func (w *world) forget() {
	w.view(func() {
		for _, e := range w.envs {
			e.standby = nil
		}
	})
}

func TestAPoolHasNoMoreStandbysThanEnvironments(t *testing.T) {
	cfg := sized(2)
	cfg.Pools[0].Standby = 64
	inBubble(t, cfg, func(w *world) {
		if s := w.status().Standby; s.Target != 2 {
			t.Errorf("%+v", s)
		}
		changed := w.reconfigure(func(c *Config) { c.Pools[0].Size, c.Pools[0].Standby = 0, 1 })
		if s := w.status().Standby; s.Target != 0 || s.Why != "" {
			t.Errorf("%v: %+v", changed, s)
		}
	})
}

func TestAReloadTellsOfStandbysAndPreload(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		for name, change := range map[string]func(*Config){
			"standby": func(c *Config) { c.Pools[0].Standby = 3 },
			"preload": func(c *Config) { c.Pools[0].Preload = []string{"pandas"} },
		} {
			if changed := w.reconfigure(change); !slices.Equal(changed, []string{"uv"}) {
				t.Errorf("%s: %v", name, changed)
			}
			if changed := w.reconfigure(change); len(changed) != 0 {
				t.Errorf("%s again: %v", name, changed)
			}
		}
	})
}

func TestTheReasonForNoStandbyIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(*Config)
		do   func(*world)
		want string
	}{
		"a system without": {func(c *Config) { c.Sockets = "" }, func(*world) {}, "this system has none"},
		"a long path": {func(c *Config) { c.Sockets = "/" + strings.Repeat("x", 100) }, func(*world) {},
			"would be 111 bytes long, and this system allows 10"},
		"nobody for long": {func(*Config) {}, func(w *world) { w.pass(61 * time.Minute) },
			"nobody has asked for an environment for 1h0m0s (standby_idle)"},
		"one cannot be started": {func(*Config) {}, func(*world) {}, "unsupported operation"}, // by the fake
		"little memory": {func(*Config) {}, func(w *world) { w.view(func() { w.noStandby = "no memory" }) },
			"no memory"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := withStandbys()
			c.set(&cfg)
			inBubble(t, cfg, func(w *world) {
				w.pass(2 * time.Second) // after the pause for the kernel of a grant
				c.do(w)
				if s := w.status().Standby; s.Ready != 0 || !strings.Contains(s.Why, c.want) {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

func TestTheLastCallersReasonIsToldUntilOneIsServed(t *testing.T) {
	inBubble(t, withStandbys(), func(w *world) {
		w.settled()
		e, s := w.stands()
		defer w.forget()
		w.standbyTold(e, s, standby.Event{Refused: "it is in another namespace"})
		if got := w.status().Standby; got.Ready != 1 ||
			got.Why != "the last caller could not have one: it is in another namespace" {
			t.Errorf("%+v", got)
		}
		w.standbyTold(e, s, standby.Event{Adopted: true})
		w.stands()
		if got := w.status().Standby; got.Ready != 1 || got.Why != "" {
			t.Errorf("%+v", got)
		}
	})
}

func TestTheNextStandbyStartsWithAllVariablesThatCallersHadOtherwise(t *testing.T) {
	inBubble(t, withStandbys(), func(w *world) {
		w.settled()
		e, s := w.stands()
		defer w.forget()
		german, four := "de_DE.UTF-8", "4"
		for _, wanted := range []map[string]*string{
			{"LANG": &german, "OMP_NUM_THREADS": &four},
			{"OMP_NUM_THREADS": nil}, // of a caller whose LANG was that of the standby
			{},                       // of one that was refused for another reason
		} {
			w.standbyTold(e, s, standby.Event{Refused: "its variables differ", Wanted: wanted})
		}
		var got map[string]*string
		w.view(func() { got = w.pools["uv"].standbys.wanted })
		if omp, told := got["OMP_NUM_THREADS"]; len(got) != 2 || got["LANG"] != &german || !told || omp != nil {
			t.Errorf("%v", got)
		}
	})
}

func TestAModuleThatMakesStandbysUselessIsNotTriedAgainAndAgain(t *testing.T) {
	cfg := withStandbys()
	cfg.Pools[0].Preload = []string{"numpy", "asks"}
	inBubble(t, cfg, func(w *world) {
		w.pass(2 * time.Minute)
		e, s := w.stands()
		defer w.forget()
		s.ready, s.socket = false, filepath.Join(cfg.Sockets, "k00000000")
		faults := []string{"asks asks on import for the kernel that it runs in, so it cannot be imported ahead"}
		w.standbyTold(e, s, standby.Event{Ended: true, Faults: faults})
		got := w.status().Standby
		if got.Ready != 0 || !strings.Contains(got.Why, "a module of preload") || !slices.Equal(got.Faults, faults) {
			t.Errorf("%+v", got)
		}
		w.pass(30 * time.Minute)
		if again := w.status().Standby; again.Why != got.Why {
			t.Errorf("it was tried again: %+v", again)
		}
		w.reconfigure(func(c *Config) { c.Pools[0].Preload = nil })
		w.pass(2 * time.Second)
		if again := w.status().Standby; !strings.Contains(again.Why, "unsupported operation") || len(again.Faults) > 0 {
			t.Errorf("it was not tried again: %+v", again)
		}
	})
}
