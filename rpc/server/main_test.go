package server

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"runtimed/internal/testkit"
	"runtimed/rpc"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/Microsoft/go-winio.ioCompletionProcessor"))
}

// echoParams and the methods below are a table for tests: they wait, fail and hold as the test says.
type echoParams struct {
	Text     string     `json:"text,omitempty"`
	Size     int        `json:"size,omitempty"`
	Progress *bool      `json:"progress,omitempty"`
	Inner    *rpc.Lease `json:"inner,omitempty"`
	Maybe    *int       `json:"maybe,omitempty"`
	Ratio    float64    `json:"ratio,omitempty"`
}

func (p echoParams) WantsProgress() bool { return p.Progress != nil && *p.Progress }

type echoResult struct {
	Text string            `json:"text"`
	List []string          `json:"list"`
	Map  map[string]string `json:"map"`
}

// bench is a server with a table for tests, and what they steer it by.
type bench struct {
	*Server
	path    string
	waiting atomic.Int32  // calls of "wait" that run
	most    atomic.Int32  // the highest waiting has been
	release chan struct{} // lets every "wait" end well
	undone  atomic.Int32  // undos of "take"
	taken   atomic.Int32
	conns   chan *Conn // from "watch"
}

func newBench() *bench {
	b := &bench{release: make(chan struct{}), conns: make(chan *Conn, 100)}
	wait := func(ctx context.Context, _ rpc.None) (rpc.None, error) {
		n := b.waiting.Add(1)
		for old := b.most.Load(); n > old && !b.most.CompareAndSwap(old, n); old = b.most.Load() {
		}
		defer b.waiting.Add(-1)
		select {
		case <-b.release:
			return rpc.None{}, nil
		case <-ctx.Done():
			return rpc.None{}, ctx.Err()
		}
	}
	methods := []Method{
		NewMethod(rpc.MethodPing, func(context.Context, rpc.None) (rpc.None, error) { return rpc.None{}, nil }),
		NewMethod(rpc.MethodInfo, func(ctx context.Context, p rpc.InfoParams) (rpc.Info, error) {
			return rpc.Info{Name: rpc.Name, Version: "1.2.3", Protocol: rpc.Protocol, PID: 77}, nil
		}),
		NewMethod("echo", func(ctx context.Context, p echoParams) (echoResult, error) {
			if p.WantsProgress() {
				SendProgress(ctx, rpc.Progress{Stage: "queued", Message: "half"})
			}
			return echoResult{Text: p.Text + strings.Repeat("x", p.Size)}, nil
		}),
		NewMethod("wait", wait),
		NewMethod("take", func(ctx context.Context, _ rpc.None) (rpc.None, error) {
			b.taken.Add(1)
			OnUndelivered(ctx, func() { b.undone.Add(1) })
			return rpc.None{}, nil
		}),
		NewMethod(rpc.MethodAcquire, func(ctx context.Context, p rpc.AcquireParams) (echoResult, error) {
			b.taken.Add(1)
			return echoResult{}, nil
		}),
		NewMethod("fail", func(ctx context.Context, p echoParams) (rpc.None, error) {
			switch p.Text {
			case "panic":
				panic("on purpose")
			case "ours":
				return rpc.None{}, wrapped{rpc.Errorf(rpc.KindPoolOff, "pool uv is off").WithHint("set its size")}
			}
			return rpc.None{}, io.ErrNoProgress
		}),
		NewMethod(rpc.MethodWatch, func(ctx context.Context, _ rpc.None) (rpc.None, error) {
			c := ConnFrom(ctx)
			c.Hold()
			b.conns <- c
			return rpc.None{}, nil
		}),
	}
	b.Server = New(methods, zap.NewNop())
	return b
}

type wrapped struct{ error }

func (w wrapped) Unwrap() error { return w.error }

// start makes the bench listen on a place of its own until the test ends.
func start(t testing.TB, change ...func(*bench)) *bench {
	t.Helper()
	b := newBench()
	for _, f := range change {
		f(b)
	}
	b.path = place(t)
	ln, err := rpc.Listen(b.path)
	testkit.Check(t, err)
	served := make(chan error, 1)
	go func() { served <- b.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		b.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return b
}

// wire is a connection that speaks bytes.
type wire struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func (b *bench) dial(t testing.TB) *wire {
	t.Helper()
	nc, err := dialBare(b.path)
	testkit.Check(t, err)
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	return &wire{t, nc, bufio.NewReader(nc)}
}

func (w *wire) send(s string) {
	w.t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) line() string {
	w.t.Helper()
	s, err := w.r.ReadString('\n')
	if err != nil {
		w.t.Fatalf("reading a line: %v, got %q", err, s)
	}
	return strings.TrimSuffix(s, "\n")
}

// rest reads until the daemon closes.
func (w *wire) rest() string {
	w.t.Helper()
	b, err := io.ReadAll(w.r)
	if err != nil {
		w.t.Fatalf("reading to the end: %v, got %q", err, b)
	}
	return string(b)
}

// closeWrite closes the sending side.
func (w *wire) closeWrite() {
	w.t.Helper()
	if !halfCloses {
		w.t.Skip("neither side of a pipe can be closed alone")
	}
	testkit.Check(w.t, w.Conn.(interface{ CloseWrite() error }).CloseWrite())
}

// eventually waits for what another goroutine is about to do.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

func decode(t testing.TB, s string) (m struct {
	ID     json.RawMessage
	Result json.RawMessage
	Error  *rpc.Error
	Method string
	Params json.RawMessage
}) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), &m); err != nil {
		t.Fatalf("%v in %q", err, s)
	}
	return m
}
