//go:build e2e && unix

package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"runtimed/pool/builder"
	"runtimed/rpc"
)

func TestWhatWasAnsweredStandsAfterAKill(t *testing.T) {
	t.Parallel()
	h, d := warmHouse(t, fastUV, 3)
	owner := newTenantFor(t)
	for range rounds(10, 200) {
		d = answeredStands(h, d, owner)
		h.filled("uv", time.Minute)
	}
}

// answeredStands leases and releases an environment, and each time kills the daemon as soon as it has answered.
func answeredStands(h *house, d *lodger, owner *tenant) *lodger {
	h.t.Helper()
	got := h.acquire(rpc.AcquireParams{OwnerPID: new(owner.pid()), Label: new("kept")})
	d.kill()
	d = h.start()
	leased := must[rpc.EnvListResult](h, rpc.MethodEnvList, rpc.EnvListParams{State: new(rpc.EnvLeased)}).Envs
	if len(leased) != 1 || leased[0].ID != got.Env.ID || leased[0].Lease.OwnerPID != owner.pid() ||
		!leased[0].Lease.Alive || leased[0].Lease.Label != "kept" {
		h.t.Errorf("leased was %s, and after a kill there is %+v", got.Env.ID, leased)
	}
	next := newTenant(h.t)
	defer next.end()
	must[rpc.AdoptResult](h, rpc.MethodAdopt, rpc.AdoptParams{Env: got.Env.ID, OwnerPID: next.pid()})
	d.kill()
	d = h.start()
	leased = must[rpc.EnvListResult](h, rpc.MethodEnvList, rpc.EnvListParams{State: new(rpc.EnvLeased)}).Envs
	if len(leased) != 1 || leased[0].Lease.OwnerPID != next.pid() {
		h.t.Errorf("adopted by %d, and after a kill there is %+v", next.pid(), leased)
	}
	must[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: got.Env.ID})
	d.kill()
	d = h.start()
	if ids := append(h.ids(rpc.EnvLeased), h.ids(rpc.EnvReady)...); slices.Contains(ids, got.Env.ID) {
		h.t.Errorf("%s was released, and after a kill there is %v", got.Env.ID, ids)
	}
	return d
}

func TestOnAFullDiskLeasesAndReleasesStandAfterAKillToo(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(fastUV)
	h.tmpfs(t, filepath.Join(h.home, ".cache"), "size=4m")
	h.configure(quickly + "3\n")
	d := h.start()
	h.filled("uv", time.Minute)
	before := h.ids(rpc.EnvReady)
	d.kill()
	h.edited("boot_id", func(int) any { return "of another boot" })
	f, err := os.Create(filepath.Join(h.home, ".cache/filler"))
	check(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 512))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	d = h.start() // and looks through what it finds, as after a boot
	h.eventually(time.Minute, "all are ready again", func() bool { return slices.Equal(h.ids(rpc.EnvReady), before) })
	answeredStands(h, d, newTenantFor(t))
	h.eventually(time.Minute, "it says that the disk is full", func() bool {
		e := h.pool("uv").Error
		return e != nil && e.Cause == builder.CauseDiskFull
	})
	check(t, errors.Join(f.Close(), os.Remove(f.Name())))
	must[rpc.FlushResult](h, rpc.MethodFlush, nil)
	h.settled(3, time.Minute)
}

func TestRestartsFindTheReadyPoolAndBuildNothing(t *testing.T) {
	t.Parallel()
	h, d := warmHouse(t, "echo \"$*\" >>\"$HOME/calls\"\n"+fastUV, 3)
	before := h.ids(rpc.EnvReady)
	calls, err := os.ReadFile(filepath.Join(h.home, "calls"))
	check(t, err)
	for i := range 20 {
		if i%2 == 0 {
			d.kill()
		} else {
			d.signal(syscall.SIGTERM)
			if code := d.exit(10 * time.Second); code != 0 {
				t.Errorf("exit code %d", code)
			}
		}
		d = h.start()
		if s := h.pool("uv"); s.Available != 3 || s.Warming != 0 {
			t.Errorf("after restart %d: %+v", i, s)
		}
	}
	if after := h.ids(rpc.EnvReady); !slices.Equal(before, after) {
		t.Errorf("ready were %v and are %v", before, after)
	}
	if now, _ := os.ReadFile(filepath.Join(h.home, "calls")); string(now) != string(calls) {
		t.Errorf("the tool was called again:\n%s", now[len(calls):])
	}
}

func TestClientsThatDieAndRestartsLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(fastUV)
	h.configure(quickly + "3\n")
	d := h.start()
	for i := range 30 {
		var clients sync.WaitGroup
		for range 7 {
			s := h.stranger(t)
			clients.Go(func() {
				fmt.Fprint(s.in, line(1, rpc.MethodAcquire, nil))
				time.Sleep(rand.N(300 * time.Millisecond))
				s.kill()
			})
		}
		time.Sleep(rand.N(200 * time.Millisecond))
		if i%2 == 0 {
			d.kill()
		} else {
			d.signal(syscall.SIGTERM)
			d.exit(10 * time.Second)
		}
		d = h.start()
		clients.Wait()
		if i%10 == 9 {
			h.settled(3, time.Minute)
		}
	}
}

func TestAUsedEnvironmentIsNeverGivenAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(fastUV)
	h.configure(quickly + "2\n")
	h.start()
	seen := map[string]bool{}
	for i := range 20 {
		owner := newTenant(t)
		r := h.acquire(rpc.AcquireParams{OwnerPID: new(owner.pid())})
		mine := filepath.Join(r.Env.Path, "lib/python3.12/site-packages/mine.py")
		if _, err := os.Stat(mine); err == nil || seen[r.Env.ID] {
			t.Errorf("%s was used before", r.Env.ID)
		}
		seen[r.Env.ID] = true
		write(h, mine, "")
		if i%2 == 0 {
			must[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: r.Env.ID})
		}
		owner.end()
	}
	h.settled(2, time.Minute)
}

func TestAnAdoptedEnvironmentLivesWithItsNewOwnerThroughACrash(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(fastUV)
	h.configure(quickly + "1\n")
	d := h.start()
	launcher, kernel := newTenantFor(t), newTenantFor(t)
	r := h.acquire(rpc.AcquireParams{OwnerPID: new(launcher.pid())})
	must[rpc.AdoptResult](h, rpc.MethodAdopt, rpc.AdoptParams{Env: r.Env.ID, OwnerPID: kernel.pid()})
	launcher.end()
	d.kill()
	h.start()
	time.Sleep(12 * time.Second) // two regular looks at owners, and more
	if err := whole(r.Env.Path); err != nil || !slices.Contains(h.ids(rpc.EnvLeased), r.Env.ID) {
		t.Errorf("its launcher ended and its kernel did not: %v, leased %v", err, h.ids(rpc.EnvLeased))
	}
	began := time.Now()
	kernel.end()
	h.settled(1, time.Minute)
	t.Logf("gone %s after its owner", time.Since(began))
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it was seen after %s", took)
	}
}

func TestAReleasedEnvironmentStaysWhileAProcessRunsFromIt(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(fastUV)
	h.configure(quickly + "1\n")
	d := h.start()
	env := h.acquire(rpc.AcquireParams{OwnerPID: new(newTenantFor(t).pid())}).Env
	runs := h.runsFrom(t, env)
	must[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: env.ID})
	must[rpc.FlushResult](h, rpc.MethodFlush, nil)
	d.kill()
	h.start()
	for range 3 {
		must[rpc.GCResult](h, rpc.MethodGC, nil)
		time.Sleep(2 * time.Second)
	}
	if err := whole(env.Path); err != nil || !slices.Contains(h.ids(rpc.EnvRemoving), env.ID) {
		t.Errorf("a process runs from it: %v, removing: %v", err, h.ids(rpc.EnvRemoving))
	}
	runs.end()
	h.settled(1, time.Minute)
}

// TestWhatCannotBeSeenIsNotTakenForGone has the daemon without a descriptor to look with for a while.
func TestWhatCannotBeSeenIsNotTakenForGone(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("prlimit"); err != nil {
		lacking(t, err.Error())
	}
	h := newHouse(t).withStandIn(fastUV)
	h.configure(quickly + "1\n")
	d := h.start()
	held := h.acquire(rpc.AcquireParams{OwnerPID: new(newTenantFor(t).pid())}).Env
	used := h.acquire(rpc.AcquireParams{OwnerPID: new(newTenantFor(t).pid())}).Env
	h.runsFrom(t, used)
	h.filled("uv", time.Minute)
	c := h.dial()
	if err := c.Call(t.Context(), rpc.MethodRelease, rpc.EnvParams{Env: used.ID}, nil); err != nil {
		t.Fatal(err)
	}
	limit := func(n string) {
		if out, err := exec.Command("prlimit", "--pid", strconv.Itoa(d.cmd.Process.Pid),
			"--nofile="+n+":").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	limit("3")
	collected := make(chan error, 1)
	go func() { collected <- c.Call(t.Context(), rpc.MethodGC, nil, nil) }()
	time.Sleep(12 * time.Second) // two regular looks, and more
	limit("1000")
	if err := <-collected; err != nil {
		t.Error(err)
	}
	for range 2 {
		if leased, removing := h.ids(rpc.EnvLeased), h.ids(rpc.EnvRemoving); !slices.Equal(leased, []string{held.ID}) ||
			!slices.Equal(removing, []string{used.ID}) {
			t.Errorf("leased %v, and should be %s; removing %v, and should be %s", leased, held.ID, removing, used.ID)
		}
		time.Sleep(6 * time.Second)
	}
	if err := errors.Join(whole(held.Path), whole(used.Path)); err != nil {
		t.Error(err)
	}
	if s := h.pool("uv"); s.Available != 1 {
		t.Errorf("%+v", s)
	}
}

// runsFrom starts a process that runs from env.
func (h *house) runsFrom(t *testing.T, env rpc.Env) *tenant {
	t.Helper()
	program, err := exec.LookPath("sleep")
	check(t, err)
	data, err := os.ReadFile(program)
	check(t, err)
	tool := filepath.Join(env.Path, "bin/sleep") // where one program is all of coreutils, it goes by its name
	check(t, os.WriteFile(tool, data, 0o755))
	runs := &tenant{cmd: exec.Command(tool, "3600")}
	check(t, runs.cmd.Start())
	t.Cleanup(runs.end)
	return runs
}
