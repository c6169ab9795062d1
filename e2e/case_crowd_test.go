//go:build e2e && unix

package e2e

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"runtimed/rpc"
)

// goroutines ends the daemon and is what each of its goroutines was doing.
func (l *lodger) goroutines() []string {
	l.t.Helper()
	l.signal(syscall.SIGQUIT)
	l.exit(20 * time.Second)
	return regexp.MustCompile(`(?m)^goroutine \d+ `).Split(l.stderr.String(), -1)[1:]
}

// TestClientsThatHangUpAtOnceLeaveNothing has them go while what they asked for is just being noted: a watch, a place in line.
func TestClientsThatHangUpAtOnceLeaveNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(gated("go"))
	h.configure(quickly + "1\n")
	d := h.start()
	h.eventually(time.Minute, "a build runs", func() bool { return h.pool("uv").Warming == 1 })
	before := d.descriptors()
	owner := newTenantFor(t)
	asked := []string{
		line(1, rpc.MethodWatch, nil),
		line(1, rpc.MethodWatch, nil) + line(2, rpc.MethodUnwatch, nil) + line(3, rpc.MethodWatch, nil),
		"[" + strings.TrimSpace(line(1, rpc.MethodWatch, nil)) + "]\n",
		line(1, rpc.MethodAcquire, rpc.AcquireParams{OwnerPID: new(owner.pid()), Progress: new(true)}) + line(2, rpc.MethodWatch, nil),
	}
	for range 40 {
		var all sync.WaitGroup
		for i := range 200 {
			all.Go(func() {
				nc, err := net.Dial("unix", h.socket)
				if err != nil {
					if !errors.Is(err, syscall.EAGAIN) {
						t.Error(err)
					}
					return
				}
				fmt.Fprint(nc, asked[i%len(asked)])
				nc.Close()
			})
		}
		all.Wait()
	}
	h.eventually(time.Minute, "nobody waits and the descriptors are back", func() bool {
		return h.pool("uv").Waiting == 0 && d.descriptors() <= before+10 // another build may run
	})
	h.open("go") // what watches still would see a change now
	h.filled("uv", time.Minute)
	h.prompt("8,000 that hung up")
	left := d.goroutines()
	for _, g := range left {
		if strings.Contains(g, "pool.(*Manager).watch(") || strings.Contains(g, "pool.(*Manager).await(") || strings.Contains(g, "rpc.(*Conn)") {
			t.Errorf("left behind: %s", g)
		}
	}
	if len(left) > 60 {
		t.Errorf("%d goroutines are left", len(left))
	}
}

// TestManyConnectionsTogetherHoldNoMoreThanTheBound has them queue and half send 240 MB.
func TestManyConnectionsTogetherHoldNoMoreThanTheBound(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(gated("go"))
	h.program = plainDaemon(t) // the race detector has a memory of its own
	h.configure(quickly + "1\n")
	d := h.start()
	before := d.memory()
	owner := newTenantFor(t)
	wait := line(1, rpc.MethodAcquire, rpc.AcquireParams{OwnerPID: new(owner.pid())})
	big := `{"jsonrpc":"2.0","id":2,"method":"pool.acquire","params":{"wait_ms":60000` + strings.Repeat(" ", 1_000_000) + "}}\n"
	var all sync.WaitGroup
	for i := range 80 {
		nc := h.knock()
		all.Go(func() { // what is refused is not read, so a write may have no end
			_ = nc.SetWriteDeadline(time.Now().Add(20 * time.Second))
			if i >= 20 {
				fmt.Fprint(nc, big[:len(big)/2])
				return
			}
			fmt.Fprint(nc, strings.Repeat(wait, rpc.MaxRunning))
			for range 10 {
				fmt.Fprint(nc, big)
			}
		})
	}
	all.Wait()
	h.prompt("240 MB were sent")
	now := d.memory()
	t.Logf("memory was %d MiB, is %d MiB", before>>20, now>>20)
	if now > before+250<<20 {
		t.Errorf("memory was %d MiB, is %d MiB", before>>20, now>>20)
	}
	h.open("go")
}
