//go:build e2e && unix

package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"runtimed/rpc"
)

// descriptors is how many files the daemon has open.
func (l *lodger) descriptors() int {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", l.cmd.Process.Pid))
	check(l.t, err)
	return len(entries)
}

// memory is what the daemon holds of it, in bytes.
func (l *lodger) memory() int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", l.cmd.Process.Pid))
	check(l.t, err)
	var size, resident int
	if _, err := fmt.Sscan(string(data), &size, &resident); err != nil {
		l.t.Fatal(err)
	}
	return resident * os.Getpagesize()
}

// prompt asks for the status a few times; nobody's doings may delay that. How long the slowest takes on a busy machine
// says little.
func (h *house) prompt(meanwhile string) {
	h.t.Helper()
	var took []time.Duration
	for range 20 {
		began := time.Now()
		must[rpc.StatusResult](h, rpc.MethodStatus, nil)
		took = append(took, time.Since(began))
		time.Sleep(5 * time.Millisecond)
	}
	h.promptly(meanwhile, took)
}

func (h *house) promptly(meanwhile string, took []time.Duration) {
	h.t.Helper()
	slices.Sort(took)
	usual := took[len(took)/2]
	h.t.Logf("%s: status took %s in half of the %d cases, and at most %s", meanwhile, usual, len(took),
		took[len(took)-1])
	if usual > time.Second {
		h.t.Errorf("%s: status took %s", meanwhile, usual)
	}
}

func (h *house) knock() net.Conn {
	h.t.Helper()
	for {
		nc, err := net.Dial("unix", h.socket)
		if err == nil {
			h.t.Cleanup(func() { nc.Close() })
			return nc
		}
		if !errors.Is(err, syscall.EAGAIN) { // the queue is full
			h.t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestIdleConnectionsHalfLinesAndAStormDelayNobodyAndLeaveNothing(t *testing.T) {
	t.Parallel()
	h, d := quietHouse(t)
	must[rpc.None](h, rpc.MethodPing, nil)
	before := d.descriptors()
	var all []net.Conn
	for i := range 1200 {
		nc := h.knock()
		if i >= 1000 {
			fmt.Fprint(nc, `{"jsonrpc": "2.0", "id": 1, "method": "pool.st`)
		}
		all = append(all, nc)
	}
	h.prompt("1,000 idle connections and 200 half lines")
	for _, nc := range all {
		nc.Close()
	}
	for i := range 10_000 {
		nc := h.knock()
		if i%3 == 0 {
			fmt.Fprint(nc, line(1, rpc.MethodStatus, nil))
		}
		nc.Close()
	}
	h.prompt("10,000 connects")
	h.eventually(time.Minute, "the descriptors are back", func() bool { return d.descriptors() <= before+2 })
}

func TestAClientThatAsksAndNeverReadsDelaysNobodyAndIsClosed(t *testing.T) {
	t.Parallel()
	h, d := quietHouse(t)
	h.prompt("alone")
	before, memory := d.descriptors(), d.memory()
	began := time.Now()
	nc := h.knock()
	ended := make(chan error, 1)
	go func() {
		w := bufio.NewWriter(nc)
		for i := range 10_000 {
			if _, err := w.WriteString(line(i, rpc.MethodDiscover, nil)); err != nil {
				ended <- err
				return
			}
		}
		ended <- w.Flush()
	}()
	h.prompt("one never reads")
	h.eventually(2*time.Minute, "it is closed", func() bool { return d.descriptors() <= before })
	t.Logf("closed after %s; memory was %d MiB, is %d MiB", time.Since(began), memory>>20, d.memory()>>20)
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("its writes are not at an end")
	}
	if now := d.memory(); now > memory+200<<20 {
		t.Errorf("memory was %d MiB, is %d MiB", memory>>20, now>>20)
	}
}

func TestWithFortyDescriptorsItLivesSaysSoAndAcceptsAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(fastUV)
	h.script = "ulimit -n 40 && exec \"$@\""
	h.configure(quickly + "2\n")
	d := h.start()
	h.filled("uv", time.Minute)
	var all []net.Conn
	for range 100 {
		nc, err := net.Dial("unix", h.socket)
		check(t, err)
		all = append(all, nc)
		fmt.Fprint(nc, line(1, rpc.MethodAcquire, rpc.AcquireParams{WaitMS: new(int64(5000))}))
	}
	time.Sleep(2 * time.Second)
	for _, nc := range all {
		nc.Close()
	}
	h.eventually(time.Minute, "it answers again", func() bool {
		_, err := ask[rpc.None](h, rpc.MethodPing, nil)
		return err == nil
	})
	select {
	case <-d.ended:
		t.Fatalf("it ended: %s", d.stderr)
	default:
	}
	if said := h.logged("no connection can be accepted for now"); len(said) == 0 {
		t.Error("its log does not say that descriptors were short")
	} else if len(said) > 20 {
		t.Errorf("its log says so %d times", len(said))
	}
	must[rpc.FlushResult](h, rpc.MethodFlush, nil) // ends a pause, if builds failed for want of descriptors
	h.eventually(time.Minute, "it fills its pool again", func() bool { return h.pool("uv").Available == 2 })
}

func TestTenThousandMangledRequestsDoNotEndIt(t *testing.T) {
	t.Parallel()
	h, d := quietHouse(t)
	var corpus []string
	file, err := os.Open("../testdata/wire/server.jsonl")
	check(t, err)
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var v struct{ Send string }
		if json.Unmarshal(lines.Bytes(), &v) == nil && v.Send != "" {
			corpus = append(corpus, v.Send)
		}
	}
	for _, method := range rpc.Methods {
		if method.Name != rpc.MethodShutdown {
			corpus = append(corpus, line(1, method.Name, map[string]any{"pool": "uv", "env": "uv-00000000",
				"wait_ms": 0, "owner_pid": 1}))
		}
	}
	for range rounds(100, 1000) {
		nc := h.knock()
		go func() { // what it answers does not matter
			_ = nc.SetReadDeadline(time.Now().Add(time.Minute))
			_, _ = bufio.NewReader(nc).WriteTo(discard{})
		}()
		for range 100 {
			b := []byte(corpus[rand.IntN(len(corpus))])
			for range rand.IntN(4) {
				b[rand.IntN(len(b))] = byte(rand.Uint32())
			}
			if strings.Contains(string(b), rpc.MethodShutdown) {
				continue
			}
			if _, err := nc.Write(append(b, '\n')); err != nil {
				break // some end the connection
			}
		}
		nc.Close()
	}
	if info := must[rpc.Info](h, rpc.MethodInfo, nil); info.PID != d.cmd.Process.Pid {
		t.Errorf("pid %d was %d", info.PID, d.cmd.Process.Pid)
	}
	if said := h.logged("panic"); len(said) > 0 {
		t.Errorf("the log: %s", strings.Join(said, ""))
	}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// goroutines ends the daemon and is what each of its goroutines was doing.
func (l *lodger) goroutines() []string {
	l.t.Helper()
	l.signal(syscall.SIGQUIT)
	l.exit(20 * time.Second)
	return regexp.MustCompile(`(?m)^goroutine \d+ `).Split(l.stderr.String(), -1)[1:]
}

// TestClientsThatHangUpAtOnceLeaveNothing has them go while what they asked for is just being noted: a watch, a place
// in line.
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
		line(1, rpc.MethodAcquire, rpc.AcquireParams{OwnerPID: new(owner.pid()), Progress: new(true)}) +
			line(2, rpc.MethodWatch, nil),
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
		if strings.Contains(g, "pool.(*Manager).watch(") || strings.Contains(g, "pool.(*Manager).await(") ||
			strings.Contains(g, "rpc.(*Conn)") {
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
	big := `{"jsonrpc":"2.0","id":2,"method":"pool.acquire","params":{"wait_ms":60000` +
		strings.Repeat(" ", 1_000_000) + "}}\n"
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
