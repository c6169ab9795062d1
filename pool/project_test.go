package pool

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"runtimed/internal/project"
	"runtimed/pool/builder"
)

// of is a project at a path whose files have that digest.
func of(path, digest string) builder.Needs {
	return builder.Needs{Project: &project.Project{Path: path, Kind: project.UVLock, File: path + "/uv.lock",
		Digest: digest}}
}

// inProjects is inBubble for a pool of one, with so many projects kept warm.
func inProjects(t *testing.T, warm int, f func(*world)) {
	t.Helper()
	cfg := sized(1)
	cfg.Projects = warm
	inBubble(t, cfg, func(w *world) {
		w.b.set(func() { w.b.takes = time.Second })
		w.pass(time.Minute)
		f(w)
	})
}

func TestAProjectGetsAnEnvironmentOfItsOwnAndOneIsKept(t *testing.T) {
	longHere(t)
	inProjects(t, 4, func(w *world) {
		w.want(1, 0, 0, 0)
		got := w.asked(1, of("/p", "a"))
		if !got.Built || got.Env.Needs == nil || got.Env.Needs.Project.Path != "/p" || got.Env.Pool != "uv" {
			t.Errorf("%+v", got)
		}
		w.pass(30 * 24 * time.Hour) // what is locked does not grow old, and is not forgotten
		w.crash()
		w.start()
		builds := w.b.tries()
		if again := w.asked(1, of("/p", "a")); again.Built || again.Extended || again.Waited != 0 {
			t.Errorf("%+v, after %d builds", again, builds)
		}
	})
}

func TestAnotherStateOfAProjectIsMadeFromTheOneBefore(t *testing.T) {
	inProjects(t, 4, func(w *world) {
		w.asked(1, of("/p", "a"))
		if got := w.asked(1, of("/other", "a")); !got.Built || got.Extended {
			t.Errorf("another project: %+v", got)
		}
		if got := w.asked(1, of("/p", "b")); !got.Extended || got.Env.Needs.Project.Digest != "b" {
			t.Errorf("the same project: %+v", got)
		}
		w.want(1, 0, 3, 0) // the pool's own is left alone
		if again := w.asked(1, of("/p", "b")); again.Built || again.Extended {
			t.Errorf("%+v", again)
		}
	})
}

func TestTheLastProjectsKeepAnEnvironment(t *testing.T) {
	inProjects(t, 2, func(w *world) {
		for _, path := range []string{"/a", "/b", "/c"} {
			w.asked(1, of(path, "1"))
		}
		for path, kept := range map[string]bool{"/b": true, "/c": true} {
			if got := w.asked(1, of(path, "1")); got.Built == kept {
				t.Errorf("%s: %+v", path, got)
			}
		}
		if got := w.asked(1, of("/a", "1")); !got.Built {
			t.Errorf("the project used longest ago was kept: %+v", got)
		}
		for i := range maxDerived + 1 { // other needs take no project's place
			w.asked(1, needs(fmt.Sprint("p", i)))
		}
		if got := w.asked(1, of("/a", "1")); got.Built {
			t.Errorf("%+v", got)
		}
	})
}

func TestAProjectsBuildGoesOnWhenNobodyWaits(t *testing.T) {
	inProjects(t, 4, func(w *world) {
		w.b.set(func() { w.b.takes = 5 * time.Minute })
		r := request(1, time.Minute)
		r.Needs = of("/p", "a")
		c := w.goGet(context.Background(), r)
		w.pass(2 * time.Minute)
		if a := <-c; a.err == nil {
			t.Fatal("it was there at once")
		}
		w.pass(10 * time.Minute)
		if got := w.asked(1, of("/p", "a")); got.Built || got.Waited != 0 {
			t.Errorf("%+v", got)
		}
	})
}

func TestASessionFollowsTheProjectsFiles(t *testing.T) {
	inProjects(t, 4, func(w *world) {
		ask := func(pid int, digest string) Acquired {
			t.Helper()
			r := request(pid, time.Hour)
			r.Needs, r.Session, r.Linger = of("/p", digest), "notebook", time.Hour
			c := w.goGet(context.Background(), r)
			synctest.Wait()
			w.pass(time.Minute)
			a := <-c
			if a.err != nil {
				t.Fatal(a.err)
			}
			return a.Acquired
		}
		first := ask(1, "a")
		w.p.End(1)
		if again := ask(2, "a"); !again.Resumed || again.Env.ID != first.Env.ID {
			t.Errorf("the same files: %+v", again)
		}
		w.p.End(2)
		if changed := ask(3, "b"); changed.Resumed || changed.Env.ID == first.Env.ID {
			t.Errorf("other files: %+v", changed)
		}
		if leased := w.ids(Leased); len(leased) != 1 || leased[0] == first.Env.ID {
			t.Errorf("%q are leased, and %s was of the state before", leased, first.Env.ID)
		}
	})
}

func TestAProjectIsForPoolsOfItsKind(t *testing.T) {
	inProjects(t, 4, func(w *world) {
		n := of("/p", "a")
		n.Project.Kind = project.Environment
		if a := <-w.Ask(1, n); a.err == nil || a.err.Error() != "the pool uv is of the kind uv, which makes no "+
			"environment for /p/uv.lock" {
			t.Errorf("%v", a.err)
		}
	})
}

func TestAProjectHasAStandbyWhereItsPoolHasAny(t *testing.T) {
	cfg := withStandbys(1, 1)
	cfg.Projects = 4
	onStandby(t, cfg, func(w *world) {
		for range 2 { // the first is built for the caller, the second is ready
			r := asking(1)
			r.Needs = of("/p", "a")
			c := w.goGet(context.Background(), r)
			synctest.Wait()
			w.pass(time.Minute)
			a := <-c
			if a.err != nil || a.Standby == nil {
				t.Errorf("%+v, %v", a.Acquired, a.err)
			}
		}
		if list := w.living(); len(list) != 2 {
			t.Errorf("%d standbys live, and not the pool's and the project's", len(list))
		}
	})
}

func TestOnlyTheLastStateOfAProjectIsKept(t *testing.T) {
	inProjects(t, 2, func(w *world) {
		w.asked(1, of("/other", "1"))
		for _, digest := range []string{"a", "b", "c"} {
			w.asked(1, of("/p", digest))
			w.pass(5 * time.Minute)
		}
		if got := w.asked(1, of("/other", "1")); got.Built {
			t.Errorf("states of one project took the place of another: %+v", got)
		}
		if n := len(w.derivedPools()); n != 2 {
			t.Errorf("%d pools of projects", n)
		}
	})
}

func TestWhatWasBuiltForWhoGaveUpIsThereForAWhile(t *testing.T) {
	inProjects(t, 0, func(w *world) {
		w.b.set(func() { w.b.takes = 20 * time.Second })
		r := request(1, time.Second)
		r.Needs = of("/p", "a")
		c := w.goGet(context.Background(), r)
		w.pass(time.Minute)
		if a := <-c; a.err == nil {
			t.Fatal("it was there at once")
		}
		if got := w.asked(1, of("/p", "a")); got.Built || got.Waited != 0 {
			t.Errorf("%+v", got)
		}
		w.pass(5 * time.Minute)
		if got := w.asked(1, of("/p", "a")); !got.Built {
			t.Errorf("one was kept: %+v", got)
		}
	})
}

func TestAProjectFollowsThePythonOfItsPool(t *testing.T) {
	inProjects(t, 4, func(w *world) {
		w.asked(1, of("/p", "a"))
		before := w.b.tries()
		w.reconfigure(func(c *Config) { c.Pools[0].Spec.Python = "3.11" })
		w.pass(10 * time.Minute)
		if n := w.b.tries() - before; n != 2 {
			t.Errorf("%d builds, and not one for the pool and one for the project", n)
		}
		if got := w.asked(1, of("/p", "a")); got.Stale || got.Waited != 0 {
			t.Errorf("%+v", got)
		}
		w.crash()
		w.start()
		builds := w.b.tries()
		if got := w.asked(1, of("/p", "a")); got.Waited != 0 || got.Stale {
			t.Errorf("%+v after %d builds", got, builds)
		}
	})
}
