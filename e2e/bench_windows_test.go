//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"

	"runtimed/rpc"
)

func BenchmarkWindowsOverThePipe(b *testing.B) {
	const calls = 12
	h := newHouse(b).withStandIn()
	h.configure(quickly + fmt.Sprintln(calls))
	h.start()
	h.filled("uv", 5*time.Minute)

	var pings, acquires []time.Duration
	for range calls {
		pings = append(pings, once[rpc.None](h, rpc.MethodPing, nil))
		acquires = append(acquires, once[rpc.AcquireResult](h, rpc.MethodAcquire,
			rpc.AcquireParams{WaitMS: new(int64(0))}))
	}
	report(b, "pool.acquire over a new connection to the pipe, median of 12", median(acquires), median(pings),
		"pings in turn")

	c := h.dial()
	pings = nil
	var asks []time.Duration
	for range 300 {
		pings = append(pings, timed(b, c, rpc.MethodPing, new(rpc.None)))
		asks = append(asks, timed(b, c, rpc.MethodStatus, new(rpc.StatusResult)))
	}
	report(b, "pool.status on an open connection to the pipe, median of 300", median(asks), median(pings),
		"pings in turn")
}

// timed is how long a call takes on an open connection.
func timed(b *testing.B, c *rpc.Client, method string, result any) time.Duration {
	b.Helper()
	began := time.Now()
	check(b, c.Call(b.Context(), method, nil, result))
	return time.Since(began)
}
