//go:build e2e && unix

package e2e

import (
	"context"
	"testing"
	"time"

	"runtimed/rpc"
)

func TestADaemonThatEndsWhenIdleWaitsForEveryClient(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure("idle_exit = \"2s\"\n" + off)
	d := h.start("--auto")
	if info := must[rpc.Info](h, rpc.MethodInfo, nil); info.StartedBy != rpc.StartedByCommand {
		t.Errorf("it was started by %s", info.StartedBy)
	}
	lives := func(who string) {
		t.Helper()
		select {
		case <-d.ended:
			t.Fatalf("it has ended beside %s", who)
		default:
		}
	}
	for range 8 { // one after the other, none of them there when it looks
		time.Sleep(500 * time.Millisecond)
		lives("clients that come and go")
		must[rpc.None](h, rpc.MethodPing, nil)
	}
	watcher, err := rpc.Dial(t.Context(), h.socket, rpc.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := watcher.Call(context.Background(), rpc.MethodWatch, nil, nil); err != nil {
		t.Fatal(err)
	}
	time.Sleep(4 * time.Second)
	lives("one that watches")
	_ = watcher.Close()
	if code := d.exit(10 * time.Second); code != exitStopped {
		t.Errorf("exit code %d", code)
	}
}
