//go:build e2e && unix

package e2e

import (
	"strings"
	"testing"
	"time"

	"runtimed/rpc"
)

// hangsFor has fastUV hang in a resolution in which a package of that name is, with a child in a session of its own: as an sdist does
// whose setup.py sleeps.
func hangsFor(name string) string {
	return at("'pip compile'", `for in; do case $in in *.in) break ;; esac; done
grep -q `+name+` "$in" && { trap '' TERM; setsid sh -c 'trap "" TERM; sleep 88.25' & sleep 88.25; }`)
}

func TestABuildThatHangsEndsWithItsCallerAndKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(hangsFor("sleeper"))
	h.configure("[build]\nparallel = 1\nmin_free = \"1MB\"\n[pools.uv]\nsize = 1\n")
	h.start()
	h.filled("uv", time.Minute)
	owner := newTenantFor(t)
	need := func(name string, wait int64) rpc.AcquireParams {
		return rpc.AcquireParams{Packages: []string{name}, OwnerPID: new(owner.pid()), WaitMS: &wait}
	}
	// waits asks on a connection of its own until hangUp is called.
	waits := func() (hangUp func()) {
		c, done := h.dial(), make(chan struct{})
		go func() {
			_ = c.Call(t.Context(), rpc.MethodAcquire, need("sleeper", 120_000), new(rpc.AcquireResult))
			close(done)
		}()
		return func() { _ = c.Close(); <-done }
	}
	firstLeaves := waits()
	h.eventually(time.Minute, "it hangs", func() bool { return len(marked(h.home)) >= 3 })
	h.acquire(need("rich", 60_000)) // while that one hangs
	h.filled("uv", time.Minute)     // the pool itself, too

	lastLeaves := waits() // the same needs: it joins, and keeps the build alive
	h.eventually(time.Minute, "two wait", func() bool {
		return len(must[rpc.EnvListResult](h, rpc.MethodEnvList, rpc.EnvListParams{State: new(rpc.EnvWarming)}).Envs) == 2
	})
	firstLeaves()
	if _, err := ask[rpc.AcquireResult](h, rpc.MethodAcquire, need("sleeper", 1)); err == nil || !strings.Contains(err.Error(), "within") {
		t.Errorf("out of time: %v", err)
	}
	if len(marked(h.home)) < 3 {
		t.Error("the build ended, though somebody waits for it")
	}
	lastLeaves()
	h.eventually(30*time.Second, "its processes are ended", func() bool { return len(marked(h.home)) == 0 })
	h.eventually(30*time.Second, "it is not begun again", func() bool {
		return len(must[rpc.EnvListResult](h, rpc.MethodEnvList, rpc.EnvListParams{State: new(rpc.EnvWarming)}).Envs) == 0
	})
}
