package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/testkit"
	"runtimed/rpc"
)

// pipeBench is a server on a pipe of its own until the test ends.
func pipeBench(t *testing.T) (path string, peers chan rpc.Peer) {
	t.Helper()
	path = fmt.Sprintf(`\\.\pipe\runtimed-test-%d-%s`, os.Getpid(), t.Name())
	ln, err := rpc.Listen(path)
	testkit.Check(t, err)
	peers = make(chan rpc.Peer, 10)
	s := New([]Method{
		NewMethod(rpc.MethodInfo, func(ctx context.Context, _ rpc.InfoParams) (rpc.Info, error) {
			peers <- PeerFrom(ctx)
			return rpc.Info{Name: rpc.Name, Version: "1.2.3", Protocol: rpc.Protocol, PID: 77,
				Socket: strings.Repeat("x", 1<<20)}, nil
		}),
	}, zap.NewNop())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return path, peers
}

func TestAPipeAnswers(t *testing.T) {
	path, peers := pipeBench(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for range 3 {
		c, err := rpc.Dial(ctx, path, rpc.ClientOptions{})
		testkit.Check(t, err)
		var info rpc.Info
		if err := c.Call(ctx, rpc.MethodInfo, nil, &info); err != nil || info.PID != 77 || len(info.Socket) != 1<<20 {
			t.Errorf("got pid %d, %v", info.PID, err)
		}
		if peer := <-peers; peer != (rpc.Peer{UID: os.Getuid(), PID: os.Getpid()}) {
			t.Errorf("the peer is %+v", peer)
		}
		c.Close()
	}
}

func TestAPipeHasOneDaemon(t *testing.T) {
	path, _ := pipeBench(t)
	_, err := rpc.Listen(path)
	if !errors.Is(err, rpc.ErrSocketInUse) || !strings.Contains(err.Error(), "runtimed 1.2.3, pid 77") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := rpc.Dial(ctx, path, rpc.ClientOptions{})
	testkit.Check(t, err)
	if err := c.Call(ctx, rpc.MethodInfo, nil, nil); err != nil {
		t.Error(err)
	}
	c.Close()
}

func TestAPipeThatNobodyMadeIsNoDaemon(t *testing.T) {
	_, err := rpc.Dial(t.Context(), `\\.\pipe\runtimed-test-none`, rpc.ClientOptions{})
	if rpc.KindOf(err) != rpc.KindUnreachable || !strings.Contains(err.Error(), "there is no pipe at") {
		t.Errorf("got %v", err)
	}
}

func TestAnEndedListenerLeavesNoPipe(t *testing.T) {
	path := `\\.\pipe\runtimed-test-again`
	for range 3 {
		ln, err := rpc.Listen(path)
		testkit.Check(t, err)
		ln.Close()
	}
}

func TestAPlaceInAFileSystemIsNoPipe(t *testing.T) {
	if _, err := rpc.Listen(`C:\runt\a.sock`); err == nil || !strings.Contains(err.Error(), "not the name of a pipe") {
		t.Errorf("got %v", err)
	}
}
