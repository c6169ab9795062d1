//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"runtimed/rpc"
)

// report prints a measured figure beside what it is held against. Times on a shared machine move; the ratio is what to
// look at.
func report(b *testing.B, what string, got, goal time.Duration, against string) {
	b.Helper()
	fmt.Printf("%-66s %10s   %4.2f of %s (%s)\n", what, round(got), float64(got)/float64(goal), round(goal), against)
}

func round(d time.Duration) time.Duration {
	switch {
	case d > time.Second:
		return d.Round(10 * time.Millisecond)
	case d > 10*time.Millisecond:
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Microsecond)
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}

// once is how long a call takes on a connection of its own, dialling included.
func once[R any](h *house, method string, params any) time.Duration {
	h.t.Helper()
	began := time.Now()
	c, err := rpc.Dial(context.Background(), h.socket, rpc.ClientOptions{})
	check(h.t, err)
	defer c.Close()
	var r R
	check(h.t, c.Call(context.Background(), method, params, &r))
	return time.Since(began)
}
