package pool

import (
	"slices"
	"strings"
	"testing"
	"time"

	"runtimed/pool/standby"
)

func TestAPoolHasNoMoreStandbysThanEnvironments(t *testing.T) {
	onStandby(t, withStandbys(2, 64), func(w *world) {
		if s := w.status().Standby; s.Target != 2 || s.Ready != 2 || s.Why != "" {
			t.Errorf("%+v", s)
		}
		w.reconfigure(func(c *Config) { c.Pools[0].Size = 0 })
		if s := w.status().Standby; s.Target != 0 || s.Ready != 0 || s.Why != "" {
			t.Errorf("%+v", s)
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

func TestAnotherIdleIsToldAtOnceAndRebuildsNothing(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.pass(time.Minute)
		before, tries := w.ids(Ready), w.b.tries()
		later := func(c *Config) { c.Pools[0].Idle = 8 * time.Hour }
		if changed := w.reconfigure(later); !slices.Equal(changed, []string{"uv"}) || w.status().Idle != 8*time.Hour {
			t.Errorf("changed: %v; %+v", changed, w.status())
		}
		if changed := w.reconfigure(later); len(changed) != 0 {
			t.Errorf("again: %v", changed)
		}
		w.pass(time.Minute)
		if now := w.ids(Ready); !slices.Equal(now, before) || w.b.tries() != tries {
			t.Errorf("ready: %v, before: %v; %d builds", now, before, w.b.tries()-tries)
		}
	})
}

func TestNoStandbyIsStartedWhereItsSocketsPathIsTooLong(t *testing.T) {
	cfg := withStandbys(1, 1)
	cfg.Sockets = "/" + strings.Repeat("x", 100)
	inBubble(t, cfg, func(w *world) {
		w.pass(time.Minute)
		w.want(1, 0, 0, 0)
		s := w.status().Standby
		if !strings.Contains(s.Why, "would be 111 bytes long, and this system allows 10") || len(w.b.standbys) > 0 {
			t.Errorf("%+v; %d were started", s, len(w.b.standbys))
		}
	})
}

func TestTheLastCallersReasonIsToldUntilACallerIsServed(t *testing.T) {
	onStandby(t, withStandbys(1, 1), func(w *world) {
		s := w.one()
		w.mustGet(asking(1))
		s.tell(standby.Event{Refused: "it is in another namespace"})
		w.pass(time.Minute)
		if got := w.status().Standby; got.Ready != 1 ||
			got.Why != "the last caller could not have one: it is in another namespace" {
			t.Errorf("%+v", got)
		}
		s = w.one()
		w.mustGet(asking(2))
		s.tell(standby.Event{Adopted: true})
		w.pass(time.Minute)
		if got := w.status().Standby; got.Ready != 1 || got.Why != "" {
			t.Errorf("%+v", got)
		}
	})
}

func TestAModuleThatMakesStandbysUselessIsLeftOut(t *testing.T) {
	cfg := withStandbys(1, 1)
	cfg.Pools[0].Preload = []string{"slow", "other"} // the fake waits for the test
	onStandby(t, cfg, func(w *world) {
		faults := []string{"slow uses on import the kernel that it runs in, so it cannot be imported ahead"}
		w.one().tell(standby.Event{Ended: true, Faults: faults, Without: "slow"})
		w.pass(time.Second)
		s := w.one()
		if !slices.Equal(s.preload, []string{"other"}) {
			t.Errorf("the next one imports %q", s.preload)
		}
		if got := w.status().Standby; got.Ready != 1 || got.Why != "" || !slices.Equal(got.Faults, faults) {
			t.Errorf("%+v", got)
		}
		w.reconfigure(func(c *Config) { c.Pools[0].Preload = nil })
		w.one()
		if got := w.status().Standby; got.Ready != 1 || got.Why != "" || len(got.Faults) > 0 {
			t.Errorf("%+v", got)
		}
	})
}
