package rpc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// pipeBench is a server on a pipe of its own until the test ends.
func pipeBench(t *testing.T) (path string, peers chan Peer) {
	t.Helper()
	path = fmt.Sprintf(`\\.\pipe\runtimed-test-%d-%s`, os.Getpid(), t.Name())
	ln, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	peers = make(chan Peer, 10)
	s := NewServer([]Method{
		NewMethod(MethodInfo, "says who", func(ctx context.Context, _ InfoParams) (Info, error) {
			peers <- PeerFrom(ctx)
			return Info{Name: Name, Version: "1.2.3", Protocol: Protocol, PID: 77, Socket: strings.Repeat("x", 1<<20)}, nil
		}),
	}, Options{UID: os.Getuid()})
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
		c, err := Dial(ctx, path, ClientOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var info Info
		if err := c.Call(ctx, MethodInfo, nil, &info); err != nil || info.PID != 77 || len(info.Socket) != 1<<20 {
			t.Errorf("got pid %d, %v", info.PID, err)
		}
		if peer := <-peers; peer != (Peer{UID: os.Getuid(), PID: os.Getpid()}) {
			t.Errorf("the peer is %+v", peer)
		}
		c.Close()
	}
}

func TestAPipeHasOneDaemon(t *testing.T) {
	path, _ := pipeBench(t)
	_, err := Listen(path)
	if !errors.Is(err, ErrSocketInUse) || !strings.Contains(err.Error(), "runtimed 1.2.3, pid 77") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := Dial(ctx, path, ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Call(ctx, MethodInfo, nil, nil); err != nil {
		t.Error(err)
	}
	c.Close()
}

func TestAPipeThatNobodyMadeIsNoDaemon(t *testing.T) {
	_, err := Dial(t.Context(), `\\.\pipe\runtimed-test-none`, ClientOptions{})
	if KindOf(err) != KindUnreachable || !strings.Contains(err.Error(), "there is no pipe at") {
		t.Errorf("got %v", err)
	}
}

func TestAnEndedListenerLeavesNoPipe(t *testing.T) {
	path := `\\.\pipe\runtimed-test-again`
	for range 3 {
		ln, err := Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		ln.Close()
	}
}

func TestAPlaceInAFileSystemIsNoPipe(t *testing.T) {
	if _, err := Listen(`C:\runt\a.sock`); err == nil || !strings.Contains(err.Error(), "not the name of a pipe") {
		t.Errorf("got %v", err)
	}
}
