//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"runtimed/rpc"
)

// allGone is 10 s, and what a busy machine adds.
const allGone = 30 * time.Second

// warmly are the kernelspecs by which a front-end gets a warm kernel.
var warmly = []string{"runt", "runt-fresh", "provisioner", "provisioner-fresh"}

// killHouse has a daemon, and front-ends that know each of warmly.
func killHouse(t *testing.T) *house {
	t.Helper()
	h := newHouse(t).withUV()
	t.Cleanup(h.tellFrontEnds)
	// where the provisioner looks
	h.setenv("PATH", filepath.Dir(runtProgram)+":"+h.env[len(h.env)-1][len("PATH="):])
	// else Python sets LC_CTYPE for its children, and the first standbys cannot be used
	h.setenv("LC_ALL", "C.UTF-8")
	h.configure("[build]\nparallel = 2\n[pools.uv]\nsize = 4\nstandby = 4\npackages = [\"ipykernel\"]\n")
	start := []string{runtProgram, "kernel", "-f", "{connection_file}"}
	h.kernelJSON("runt", start, map[string]any{})
	h.kernelJSON("runt-fresh", append(start, "--on-restart", "fresh"), map[string]any{})
	for name, config := range map[string]map[string]any{
		"provisioner": {}, "provisioner-fresh": {"on_restart": "fresh"},
	} {
		h.kernelJSON(name, []string{"python", "-m", "ipykernel_launcher", "-f", "{connection_file}"},
			map[string]any{"kernel_provisioner": map[string]any{"provisioner_name": "runtimed", "config": config}})
	}
	// as an installation would make the provisioner known
	known := filepath.Join(h.home, "known/runtimed_jupyter-0.dist-info")
	check(t, os.MkdirAll(known, 0o755))
	write(h, filepath.Join(known, "entry_points.txt"),
		"[jupyter_client.kernel_provisioners]\nruntimed = runtimed_jupyter:RuntimedProvisioner\n")
	h.start()
	h.filled("uv", 3*time.Minute)
	t.Cleanup(func() { h.runt("daemon", "stop") }) // it may be one that a front-end started
	return h
}

// killable is a front-end that has started and begins at once what it is asked.
func (h *house) killable() *jupyter {
	h.t.Helper()
	var folders []string
	for _, name := range []string{"../clients/python/src", "../clients/jupyter/src"} {
		path, err := filepath.Abs(name)
		check(h.t, err)
		folders = append(folders, path)
	}
	j := h.frontEndIn("RUNTIMED_LOG_LEVEL=debug", append(folders, filepath.Join(h.home, "known"))...)
	var specs map[string]string
	check(h.t, j.ask("specs", nil, &specs))
	for _, name := range warmly {
		if specs[name] == "" {
			h.t.Fatalf("there is no kernel %s: %v", name, specs)
		}
	}
	return j
}

// bystander is a front-end whose kernel must outlive everything that happens to others.
func (h *house) bystander(kernel string) *jupyter {
	h.t.Helper()
	j := h.killable()
	j.do("start", step{"kernel": kernel})
	j.holds = filepath.Base(strings.TrimSpace(j.cell("import sys; n = 0; print(sys.prefix)")))
	return j
}

// killing is one life of a front-end and its kernel, in which one process is killed.
type killing struct {
	*house
	j      *jupyter
	kernel string // by which kernelspec
	phase  string // what goes on at that time
	victim string
	label  string // of its lease
	killed bool   // there was such a process
	story  []string
}

// tells keeps what is logged if the test fails.
func (k *killing) tells(format string, args ...any) {
	k.story = append(k.story, time.Now().UTC().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

func (h *house) newKilling(name string) *killing {
	k := &killing{house: h, j: h.killable(), label: name,
		kernel: warmly[rand.IntN(len(warmly))],
		phase:  []string{"start", "start", "a cell", "a pause", "a restart", "the shutdown"}[rand.IntN(6)],
		victim: []string{"runt", "daemon", "front-end", "kernel"}[rand.IntN(4)]}
	if k.victim == "runt" && strings.HasPrefix(k.kernel, "provisioner") {
		k.victim = "kernel" // there is no runt
	}
	return k
}

func (k *killing) String() string {
	return fmt.Sprintf("%s: %s, kill -9 of the %s during %s", k.label, k.kernel, k.victim, k.phase)
}

// find is the process to kill, or 0. A kernel is known by its parent, or by its environment: a standby has another
// parent.
func (k *killing) find() int {
	own := k.j.cmd.Process.Pid
	if k.victim == "front-end" {
		return own
	}
	info, _ := ask[rpc.Info](k.house, rpc.MethodInfo, nil) // another may have killed it
	if k.victim == "daemon" {
		return info.PID
	}
	list, _ := ask[rpc.EnvListResult](k.house, rpc.MethodEnvList, nil)
	for _, p := range k.processes() {
		isRunt := p.parent == own && p.program == runtProgram
		isKernel := !isRunt && p.env != "" && (p.parent == own ||
			p.parent == info.PID && slices.ContainsFunc(list.Envs, func(e rpc.EnvListed) bool {
				return e.ID == p.env && e.Lease != nil && strings.HasSuffix(e.Lease.Label, k.label)
			}))
		if k.victim == "runt" && isRunt || k.victim == "kernel" && isKernel {
			return p.pid
		}
	}
	return 0
}

// kill ends one process after a time, in a moment that nothing has chosen. At a start it waits until it is there.
func (k *killing) kill(after time.Duration, done <-chan struct{}) {
	time.Sleep(after)
	pid := k.find()
	for waits := done != nil; pid == 0 && waits; pid = k.find() {
		select {
		case <-done:
			waits = false
		case <-time.After(time.Millisecond):
		}
	}
	if pid == 0 {
		return // a kernel that has ended, a runt that has become one
	}
	k.killed = syscall.Kill(pid, syscall.SIGKILL) == nil
	k.tells("killed %d", pid)
	if k.victim == "front-end" {
		_ = k.j.cmd.Wait()
	}
}

// do has the front-end do something, and kills meanwhile if it is to. Nothing takes longer than the front-end's own
// times.
func (k *killing) do(what string, s step, kills bool) (r told, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err = k.j.ask(what, s, &r); err == nil && r.Error != "" {
			err = errors.New(r.Error)
		}
	}()
	if kills {
		during := done
		if what != "start" {
			during = nil
		}
		k.kill(rand.N(400*time.Millisecond), during)
	}
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		k.j.kill()
		<-done
		err = errors.New("it does not come back")
	}
	k.tells("%s: %+v, %v", what, r, err)
	if err != nil {
		err = fmt.Errorf("%v: %s: %w", k, what, err)
	}
	return r, err
}

// run is all of it: it checks what those see who were not killed.
func (k *killing) run() error {
	_, err := k.do("start", step{"kernel": k.kernel, "env": step{"JPY_SESSION_NAME": k.label}}, k.phase == "start")
	if err != nil && k.phase != "start" {
		return err
	}
	switch k.phase {
	case "a cell":
		_, err = k.do("begin", step{"code": "import time; time.sleep(0.4)"}, true)
	case "a pause":
		k.kill(0, nil)
	case "a restart":
		_, err = k.do("restart", step{"now": rand.IntN(2) == 0}, true)
	case "the shutdown":
		_, err = k.do("shutdown", nil, true)
	}
	kernelKilled := k.killed && k.victim != "daemon"
	switch {
	case k.killed && k.victim == "front-end":
		return nil
	case err != nil && !kernelKilled:
		return err
	case k.phase == "the shutdown" || kernelKilled:
		got, err := k.do("gone", nil, false)
		// A standby that is killed before it is the kernel is replaced. After a restart there is another kernel.
		if err != nil || !got.Alive {
			return err
		}
		if k.phase != "start" && k.phase != "a restart" {
			return fmt.Errorf("%v: the front-end does not see the end of its kernel", k)
		}
	}
	got, err := k.do("run", step{"code": "1 + 1"}, false) // after a restart there is another kernel
	if err == nil && got.Status != "ok" {
		err = fmt.Errorf("%v: its kernel says %+v", k, got)
	}
	return err
}

// end lets the front-end go, with a word or without one.
func (k *killing) end() {
	if k.victim != "front-end" && rand.IntN(2) == 0 {
		_, _ = k.do("shutdown", nil, false) // of a kernel that may have ended
	}
	k.j.kill()
}

// TestRandomKillsAroundStandbyKernelsLeaveNothing has four front-ends at a time, since what is left over shows only
// some seconds after their ends.
func TestRandomKillsAroundStandbyKernelsLeaveNothing(t *testing.T) {
	t.Parallel()
	h := killHouse(t)
	bystanders := []*jupyter{h.bystander("runt"), h.bystander("provisioner")}
	const atOnce = 4
	counts := map[string]int{}
	var slowest time.Duration
	for wave := range rounds(8, 500) / atOnce {
		var all [atOnce]*killing
		var errs [atOnce]error
		var wait sync.WaitGroup
		for i := range all {
			all[i] = h.newKilling(fmt.Sprintf("killing-%d-%d", wave, i))
			earlier := func(k *killing) bool { return k.victim == "daemon" }
			if all[i].victim == "daemon" && slices.ContainsFunc(all[:i], earlier) {
				all[i].victim = "kernel" // who has started a daemon that ends at once starts no other
			}
		}
		for i, k := range all {
			wait.Go(func() {
				errs[i] = k.run()
				k.end()
			})
		}
		wait.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			for _, k := range all {
				t.Logf("%v:\n%s", k, strings.Join(k.story, "\n"))
			}
			t.Fatal(err)
		}
		if _, err := ask[rpc.None](h, rpc.MethodPing, nil); err != nil && rand.IntN(2) == 0 {
			h.start()
		} else if err != nil { // else a front-end has started one
			h.runt("daemon", "start")
		}
		began := time.Now()
		for _, j := range bystanders {
			if got := j.cell("n += 1; print(n)"); got != fmt.Sprintln(wave+1) {
				t.Fatalf("%v: a bystander's kernel says %s", all, got)
			}
		}
		h.clean(allGone, bystanders...)
		slowest = max(slowest, time.Since(began))
		for _, k := range all {
			if counts["nobody"]++; k.killed {
				counts["nobody"]--
				counts[k.victim]++
			}
		}
		h.forget(bystanders...)
		h.filled("uv", 3*time.Minute)
	}
	t.Logf("killed %v; all was gone after %s at the latest", counts, slowest)
	if counts["nobody"]*2 > rounds(8, 500) {
		t.Errorf("in %d rounds there was nobody to kill", counts["nobody"])
	}
}

// forget ends the leases that wait for a session.
func (h *house) forget(living ...*jupyter) {
	h.t.Helper()
	for _, e := range h.leases() {
		if !slices.ContainsFunc(living, func(j *jupyter) bool { return j.holds == e.ID }) {
			_, _ = ask[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: e.ID}) // it may end by itself
		}
	}
}

func TestWhatIsLeftOverIsFound(t *testing.T) {
	t.Parallel()
	h, _ := warmHouse(t, fastUV, 2)
	h.clean(allGone)
	sleeps := func(dir, home string) func() {
		cmd := exec.Command("sleep", "3600")
		cmd.Dir, cmd.Env = dir, []string{"HOME=" + home}
		check(t, cmd.Start())
		return (&tenant{cmd: cmd}).end
	}
	owner := newTenantFor(t)
	for _, plant := range []func() (what string, clear func()){
		func() (string, func()) { return "sleep", sleeps("/", h.home) },
		func() (string, func()) {
			id := h.ids(rpc.EnvReady)[0]
			return "(" + id + ") sleep", sleeps(h.state("envs", id, "bin"), "/")
		},
		func() (string, func()) {
			id := h.acquire(rpc.AcquireParams{OwnerPID: new(owner.pid()), Session: new("a")}).Env.ID
			return id + " is leased", func() { must[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: id}) }
		},
		func() (string, func()) {
			dir := h.state("envs/nobody-knows")
			check(t, os.Mkdir(dir, 0o700))
			return "folder nobody-knows", func() { check(t, os.Remove(dir)) }
		},
		func() (string, func()) {
			path := h.state("k0123abcd")
			write(h, path, "")
			return "socket " + path, func() { check(t, os.Remove(path)) }
		},
	} {
		what, clear := plant()
		h.eventually(allGone, what+" alone is left over", func() bool {
			found := h.leftovers()
			return len(found) == 1 && strings.Contains(found[0], what)
		})
		clear()
		h.clean(allGone)
	}
}
