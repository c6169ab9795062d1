package server

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/testkit"
	"runtimed/rpc"
)

func TestAPipeCarriesLongAnswersAndTellsWhoAsks(t *testing.T) {
	peers := make(chan rpc.Peer, 1)
	b := start(t, func(b *bench) {
		b.Server = New([]Method{
			NewMethod(rpc.MethodInfo, func(ctx context.Context, _ rpc.InfoParams) (rpc.Info, error) {
				peers <- PeerFrom(ctx)
				return rpc.Info{Name: rpc.Name, Socket: strings.Repeat("x", 1<<20)}, nil
			}),
		}, zap.NewNop())
	})
	for range 3 {
		c, err := rpc.Dial(t.Context(), b.path, rpc.ClientOptions{})
		testkit.Check(t, err)
		var info rpc.Info
		if err := c.Call(t.Context(), rpc.MethodInfo, nil, &info); err != nil || len(info.Socket) != 1<<20 {
			t.Errorf("got %d bytes, %v", len(info.Socket), err)
		}
		if peer := <-peers; peer != (rpc.Peer{UID: os.Getuid(), PID: os.Getpid()}) {
			t.Errorf("the peer is %+v", peer)
		}
		c.Close()
	}
}

func TestTheFirstClientOfAPipeIsAnswered(t *testing.T) {
	for name, early := range map[string]bool{"once it is served": false, "between Listen and the first Accept": true} {
		t.Run(name, func(t *testing.T) {
			for range 50 {
				b := newBench()
				ln, err := rpc.Listen(place(t))
				testkit.Check(t, err)
				answer, served := make(chan error, 1), make(chan error, 1)
				if early {
					go func() { answer <- pingAt(t, ln.Addr().String()) }()
					ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
					defer cancel()
					_, err := rpc.Dial(ctx, ln.Addr().String(), rpc.ClientOptions{})
					if rpc.KindOf(err) != rpc.KindTimeout {
						t.Errorf("before there is anybody to answer: %v", err)
					}
				}
				go func() { served <- b.Serve(ln) }()
				if !early {
					answer <- pingAt(t, ln.Addr().String())
				}
				if err := <-answer; err != nil {
					t.Fatal(err)
				}
				b.Shutdown(t.Context())
				testkit.Check(t, <-served)
			}
		})
	}
}

// TestWhoDialsWhileAPipeIsMadeIsAnsweredOrToldToDialAgain has clients that dial all the time.
func TestWhoDialsWhileAPipeIsMadeIsAnsweredOrToldToDialAgain(t *testing.T) {
	for range 50 {
		b := newBench()
		path := place(t)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				for ctx := t.Context(); ctx.Err() == nil; {
					err := pingAt(t, path)
					switch rpc.KindOf(err) {
					case rpc.KindUnreachable, rpc.KindClosed: // not yet
						continue
					}
					if err != nil {
						t.Error(err)
					}
					return
				}
			})
		}
		ln, err := rpc.Listen(path)
		testkit.Check(t, err)
		served := make(chan error, 1)
		go func() { served <- b.Serve(ln) }()
		all.Wait()
		b.Shutdown(t.Context())
		testkit.Check(t, <-served)
	}
}

func pingAt(t *testing.T, path string) error {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := rpc.Dial(ctx, path, rpc.ClientOptions{})
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Call(ctx, rpc.MethodPing, nil, nil)
}

func TestAPipeThatNobodyMadeIsNoDaemon(t *testing.T) {
	_, err := rpc.Dial(t.Context(), `\\.\pipe\runtimed-test-none`, rpc.ClientOptions{})
	if rpc.KindOf(err) != rpc.KindUnreachable || !strings.Contains(err.Error(), "there is no pipe at") {
		t.Errorf("got %v", err)
	}
}
