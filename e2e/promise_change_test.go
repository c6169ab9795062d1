//go:build e2e && unix

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"runtimed/rpc"
)

// failing is fastUV that fails while the file of that name is in HOME.
func failing(name string) string {
	return at(stepVenv, `[ ! -e "$HOME/`+name+`" ] || { echo broken >&2; exit 1; }`)
}

func (h *house) shut(gate string) { _ = os.Remove(filepath.Join(h.home, gate)) }

func TestAfterAChangeOfPackagesTheNewSetIsGivenAndTheOldOnlyWhereItCannotBeBuilt(t *testing.T) {
	t.Parallel()
	h, _ := warmHouse(t, failing("broken"), 3)
	owner := newTenantFor(t)
	get := func() rpc.AcquireResult {
		return h.acquire(rpc.AcquireParams{OwnerPID: new(owner.pid()), WaitMS: new(int64(120_000))})
	}
	old := h.ids(rpc.EnvReady)
	h.configure(quickly + "3\npackages = [\"attrs\"]\n")
	must[rpc.ReloadResult](h, rpc.MethodReload, nil)
	if r := get(); slices.Contains(old, r.Env.ID) || r.Stale {
		t.Errorf("after the change: %s (stale %v), and before there were %v", r.Env.ID, r.Stale, old)
	}
	h.filled("uv", time.Minute)
	h.eventually(time.Minute, "the old ones are gone", func() bool {
		return !slices.ContainsFunc(h.folders(), func(id string) bool { return slices.Contains(old, id) })
	})

	old = h.ids(rpc.EnvReady)
	h.open("broken")
	h.configure(quickly + "3\npackages = [\"wheel\"]\n")
	must[rpc.ReloadResult](h, rpc.MethodReload, nil)
	if r := get(); !slices.Contains(old, r.Env.ID) || !r.Stale {
		t.Errorf("while the new set cannot be built: %s (stale %v), and before there were %v", r.Env.ID, r.Stale, old)
	}
	if s := h.pool("uv"); s.State != rpc.PoolFailing || s.Available != 2 {
		t.Errorf("status: %+v", s)
	}
	h.shut("broken")
	must[rpc.FlushResult](h, rpc.MethodFlush, nil)
	if r := get(); r.Stale {
		t.Errorf("it is stale: %s", r.Env.ID)
	}
}

// edited changes one member of all manifests, while no daemon runs.
func (h *house) edited(member string, value func(i int) any) {
	h.t.Helper()
	for i, id := range h.folders() {
		path := h.state("envs", id, "runtimed.json")
		data, err := os.ReadFile(path)
		check(h.t, err)
		var m map[string]any
		numbers := json.NewDecoder(bytes.NewReader(data))
		numbers.UseNumber()
		check(h.t, numbers.Decode(&m))
		m[member] = value(i)
		if data, err = json.Marshal(m); err != nil {
			h.t.Fatal(err)
		}
		check(h.t, os.WriteFile(path, data, 0o600))
	}
}

func TestOldAndOddlyDatedEnvironmentsServeUntilTheirReplacementsDo(t *testing.T) {
	t.Parallel()
	far := []time.Time{time.Unix(0, 0), time.Date(2099, 12, 31, 0, 0, 0, 0, time.UTC),
		time.Date(1901, 1, 1, 0, 0, 0, 0, time.UTC)}
	for name, at := range map[string][]time.Time{"three days old": {time.Now().Add(-72 * time.Hour)},
		"of 1970, 2099 and 1901": far} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, d := warmHouse(t, "[ \"$1\" != venv ] || echo >>\"$HOME/builds\"\n"+failing("offline"), 3)
			d.signal(syscall.SIGTERM)
			d.exit(10 * time.Second)
			h.edited("created_at", func(i int) any { return at[i%len(at)].UTC() })
			for i, id := range h.folders() {
				check(t, os.Chtimes(h.state("envs", id, "runtimed.json"), at[i%len(at)], at[i%len(at)]))
			}
			old := h.folders()

			h.open("offline")
			d = h.start()
			h.eventually(time.Minute, "a build fails", func() bool { return h.pool("uv").Error != nil })
			if s := h.pool("uv"); s.Available != 3 {
				t.Errorf("offline: %+v", s)
			}
			r := h.acquire(rpc.AcquireParams{OwnerPID: new(newTenantFor(t).pid()), WaitMS: new(int64(0))})
			if !slices.Contains(old, r.Env.ID) {
				t.Errorf("offline it gives %s", r.Env.ID)
			}
			d.signal(syscall.SIGTERM)
			d.exit(10 * time.Second)
			h.shut("offline")
			h.shut("builds")

			h.start()
			least := 9
			h.eventually(time.Minute, "all are replaced", func() bool {
				least = min(least, h.pool("uv").Available)
				return !slices.ContainsFunc(h.ids(rpc.EnvReady),
					func(id string) bool { return slices.Contains(old, id) })
			})
			if least < 1 {
				t.Errorf("meanwhile there were %d", least)
			}
			h.filled("uv", time.Minute)
			if builds, _ := os.ReadFile(filepath.Join(h.home, "builds")); len(builds) != 3 {
				t.Errorf("%d builds for 3 environments", len(builds))
			}
		})
	}
}

func TestAStoppedDaemonGoesOnWithoutABurstAndWithoutLosingAnything(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn("[ \"$1\" != venv ] || echo >>\"$HOME/builds\"\n" + gated("go"))
	h.open("go")
	h.configure(quickly + "2\n")
	d := h.start()
	h.filled("uv", time.Minute)
	owner, dies := newTenantFor(t), newTenantFor(t)
	held := h.acquire(rpc.AcquireParams{OwnerPID: new(owner.pid())})
	h.acquire(rpc.AcquireParams{OwnerPID: new(dies.pid())})
	h.filled("uv", time.Minute)
	h.shut("go")
	h.shut("builds")
	h.acquire(rpc.AcquireParams{OwnerPID: new(owner.pid())})
	h.eventually(time.Minute, "a build runs", func() bool {
		return h.pool("uv").Warming == 1 &&
			len(marked(h.home)) > 0
	})
	d.signal(sigStop)
	h.eventually(10*time.Second, "all of its threads stand still",
		func() bool { // the signal takes a moment to reach them
			threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", d.cmd.Process.Pid))
			return err == nil && !slices.ContainsFunc(threads, func(path string) bool {
				stat, err := os.ReadFile(path)
				return err == nil && !bytes.Contains(stat, []byte(") T "))
			})
		})
	stopped := time.Now()
	var got rpc.AcquireResult
	answered := make(chan error, 1)
	go func() { // it asks a daemon that does not hear it, and has less patience than that lasts
		var err error
		got, err = ask[rpc.AcquireResult](h, rpc.MethodAcquire,
			rpc.AcquireParams{OwnerPID: new(owner.pid()), WaitMS: new(int64(1000))})
		answered <- err
	}()
	h.open("go") // the build ends meanwhile
	dies.end()   // and a holder
	time.Sleep(time.Duration(rounds(4, 60)) * time.Second)
	d.signal(sigContinue)
	if err := <-answered; err != nil || got.WaitedMS > 1000 {
		t.Errorf("asked while it was stopped for %s: %v, waited %d ms", time.Since(stopped), err, got.WaitedMS)
	}
	h.eventually(time.Minute, "it has settled", func() bool {
		s := h.pool("uv")
		return s.Available == 2 && s.Warming+s.Removing == 0 && s.Leased == 3 && len(h.folders()) == 5
	})
	if s := h.pool("uv"); s.Error != nil {
		t.Errorf("it says that builds fail: %+v", s.Error)
	}
	if err := whole(held.Env.Path); err != nil {
		t.Error(err)
	}
	if builds, _ := os.ReadFile(filepath.Join(h.home, "builds")); len(builds) > 2 {
		t.Errorf("%d builds for two that were taken", len(builds))
	}
}

func TestAStateDirectoryThatIsMovedIsJudgedByWhatIsTrueThere(t *testing.T) {
	t.Parallel()
	h, d := warmHouse(t, fastUV, 2)
	owner := newTenantFor(t)
	held := h.acquire(rpc.AcquireParams{OwnerPID: new(owner.pid())}).Env
	h.filled("uv", time.Minute)
	old := h.folders()
	d.signal(syscall.SIGTERM)
	d.exit(10 * time.Second)
	elsewhere := filepath.Join(h.home, "elsewhere")
	check(t, errors.Join(os.Rename(h.state(), elsewhere), os.Symlink(elsewhere, h.state())))
	d = h.start()
	h.filled("uv", time.Minute)
	r := h.acquire(rpc.AcquireParams{OwnerPID: new(owner.pid())})
	if slices.Contains(old, r.Env.ID) || !strings.HasPrefix(r.Env.Python, elsewhere) {
		t.Errorf("its scripts point elsewhere, and it is given: %s", r.Env.Python)
	}
	if leased := h.ids(rpc.EnvLeased); !slices.Contains(leased, held.ID) {
		t.Errorf("%s was leased, and now there are %v", held.ID, leased)
	}
	// and through the link all goes on as before
	h.filled("uv", time.Minute)
	ready := h.ids(rpc.EnvReady)
	d.kill()
	h.start()
	if again := h.ids(rpc.EnvReady); !slices.Equal(ready, again) {
		t.Errorf("ready were %v and are %v", ready, again)
	}
}
