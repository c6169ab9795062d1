//go:build e2e && unix

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"runtimed/rpc"
)

// weight is what a process takes of the machine, as the kernel counts it.
func weight(pid int) (files, threads int, rss int64) {
	fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return len(fds), len(tasks), usage(pid).rss
}

func TestAfterALoadNothingIsLeftOfIt(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(fastUV)
	h.program = plainDaemon(t) // the race detector has a memory of its own
	h.configure("[build]\nparallel = 2\nmin_free = \"1MB\"\n[pools.uv]\nsize = 3\n")
	d := h.start()
	h.filled("uv", time.Minute)
	pid := d.cmd.Process.Pid
	files, threads, rss := weight(pid)

	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rounds(6, 600))*time.Second)
	defer cancel()
	var mu sync.Mutex
	var waits []time.Duration
	served := 0
	callers := []func(){
		func() { // one that asks and is answered
			began := time.Now()
			if _, err := ask[rpc.StatusResult](h, rpc.MethodStatus, nil); err != nil {
				t.Errorf("status: %v", err)
			}
			mu.Lock()
			waits = append(waits, time.Since(began))
			mu.Unlock()
		},
		func() { // one that takes and gives back
			got, err := ask[rpc.AcquireResult](h, rpc.MethodAcquire,
				rpc.AcquireParams{OwnerPID: new(os.Getpid()), WaitMS: new(int64(2000))})
			if rpc.KindOf(err) == rpc.KindPoolEmpty {
				return
			}
			if err == nil {
				_, err = ask[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: got.Env.ID})
			}
			if err != nil {
				t.Errorf("acquire and release: %v", err)
			}
			mu.Lock()
			served++
			mu.Unlock()
		},
		func() { // one that gives up while it waits
			c, err := net.Dial("unix", h.socket)
			if err != nil { // the line of those who wait to be accepted is full: a client tries again
				time.Sleep(10 * time.Millisecond)
				return
			}
			params := rpc.AcquireParams{OwnerPID: new(os.Getpid()), Progress: new(true)}
			fmt.Fprint(c, line(1, rpc.MethodAcquire, params))
			time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
			_ = c.Close()
		},
		func() { // noise
			if c, err := net.Dial("unix", h.socket); err == nil {
				noise := make([]byte, rand.IntN(4000))
				for i := range noise {
					noise[i] = byte(rand.IntN(256))
				}
				_, _ = c.Write(noise)
				_ = c.Close()
			}
		},
		func() { // one that asks much and reads nothing
			if c, err := net.Dial("unix", h.socket); err == nil {
				_ = c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
				_, _ = io.Copy(c, strings.NewReader(strings.Repeat(line(1, rpc.MethodDiscover, nil), 2000)))
				_ = c.Close()
			}
			time.Sleep(20 * time.Millisecond)
		},
		func() { // half a line, and silence
			if c, err := net.Dial("unix", h.socket); err == nil {
				_, _ = io.WriteString(c, `{"jsonrpc":"2.0","id":1,"meth`)
				time.Sleep(50 * time.Millisecond)
				_ = c.Close()
			}
		},
		func() { // one that watches
			c, err := rpc.Dial(ctx, h.socket, rpc.ClientOptions{OnNotify: func(string, json.RawMessage) {}})
			if err != nil {
				return
			}
			_ = c.Call(ctx, rpc.MethodWatch, nil, nil)
			time.Sleep(100 * time.Millisecond)
			_ = c.Close()
		},
	}
	var all sync.WaitGroup
	for _, call := range callers {
		for range 2 {
			all.Go(func() {
				for ctx.Err() == nil {
					call()
					time.Sleep(2 * time.Millisecond) // a load, not a race for the two processors of a small machine
				}
			})
		}
	}
	all.Wait()
	slices.Sort(waits)
	t.Logf("%d environments served; status: median %s, worst of %d %s", served, waits[len(waits)/2], len(waits),
		waits[len(waits)-1])
	if median := waits[len(waits)/2]; median > 3*time.Second { // what clients wait at the most
		t.Errorf("every second status took longer than %s", median)
	}
	// what gave up may have been given an environment in its last moment: it belongs to this process, as it said
	for _, e := range must[rpc.EnvListResult](h, rpc.MethodEnvList, rpc.EnvListParams{State: new(rpc.EnvLeased)}).Envs {
		must[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: e.ID})
	}
	h.eventually(time.Minute, "the pool is full and nothing else is there", func() bool {
		s := h.pool("uv")
		return s.Available == 3 && s.Leased+s.Removing+s.Warming+s.Waiting == 0 && len(h.folders()) == 3
	})
	h.eventually(30*time.Second, "descriptors are back", func() bool {
		now, _, _ := weight(pid)
		return now <= files+2
	})
	files2, threads2, rss2 := weight(pid)
	t.Logf("descriptors %d, then %d; threads %d, then %d; resident %d MB, then %d MB", files, files2, threads, threads2,
		rss>>20, rss2>>20)
	if threads2 > threads+40 || rss2 > rss+100<<20 {
		t.Error("threads or memory did not come back")
	}
	if log, err := os.Stat(h.state("runtimed.log")); err != nil || log.Size() > 6<<20 {
		t.Errorf("the log: %v, %v", log, err)
	}
}
