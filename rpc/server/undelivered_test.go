package server

import (
	"bufio"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"runtimed/rpc"
)

// counted is a connection that knows how many bytes were written to it.
type counted struct {
	net.Conn
	n atomic.Int64
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.n.Add(int64(n))
	return n, err
}

// In each round the peer leaves at another moment around the answer. Either a byte of it was written, or it is undone
// once.
func TestAResultIsUndoneExactlyWhenNoByteOfItWasWritten(t *testing.T) {
	b := newBench()
	pair := pairs(t)
	var kept, undone int
	for round := 0; round < 600 || (kept == 0 || undone == 0) && round < 20_000; round++ {
		client, server := pair(t)
		nc := &counted{Conn: server}
		done := make(chan bool)
		taken, before := b.taken.Load(), b.undone.Load()
		go func() { b.serve(b.enter(nc, rpc.Peer{})); close(done) }()
		io.WriteString(client, req("1", "take")+"\n")
		if halfCloses && round%2 == 0 {
			client.(interface{ CloseWrite() error }).CloseWrite()
		}
		spin(time.Duration(rand.IntN(300)) * time.Microsecond)
		client.Close()
		<-done
		if b.taken.Load() == taken {
			continue // it was gone before the method ran
		}
		switch got := b.undone.Load() - before; {
		case nc.n.Load() == 0 && got == 1:
			undone++
		case nc.n.Load() > 0 && got == 0:
			kept++
		default:
			t.Fatalf("%d bytes written, undone %d times", nc.n.Load(), got)
		}
	}
	t.Logf("%d kept, %d undone", kept, undone)
	if kept == 0 || undone == 0 {
		t.Error("the moments were not around the answer")
	}
}

// spin waits for less than a timer can.
func spin(d time.Duration) {
	for begun := time.Now(); time.Since(begun) < d; {
	}
}

func TestACancelledCallIsEitherAnsweredOrUndone(t *testing.T) {
	b := start(t)
	w := b.dial(t)
	var kept, undone int
	for range 400 {
		before := b.undone.Load()
		w.send(req("1", "take") + "\n")
		spin(time.Duration(rand.IntN(60)) * time.Microsecond)
		w.send(cancelled("1") + "\n")
		got, n := decode(t, w.line()), b.undone.Load()-before
		switch {
		case got.Error == nil && n == 0:
			kept++
		case got.Error != nil && got.Error.Data.Kind == rpc.KindCancelled && n <= 1: // 0: it never ran
			undone++
		default:
			t.Fatalf("got %+v, undone %d times", got, n)
		}
	}
	if b.taken.Load()-b.undone.Load() != int32(kept) {
		t.Errorf("%d taken, %d undone, %d answered", b.taken.Load(), b.undone.Load(), kept)
	}
	t.Logf("%d kept, %d cancelled", kept, undone)
}

// A pipe has no buffer: exactly what the peer reads has been written.
func TestAPartlyWrittenBatchUndoesWhatLiesBehindThePart(t *testing.T) {
	one := `{"jsonrpc":"2.0","id":1,"result":{}}`
	for read, want := range map[int]int32{0: 2, 1: 1, 2: 1, len("[" + one + ","): 1, len("["+one+",") + 1: 0,
		len("[" + one + "," + one + "]"): 0} {
		b := newBench()
		client, server := net.Pipe()
		done := make(chan bool)
		go func() { b.serve(b.enter(server, rpc.Peer{})); close(done) }()
		io.WriteString(client, "["+req("1", "take")+","+req("1", "take")+"]\n")
		eventually(t, "both ran", func() bool { return b.taken.Load() == 2 })
		if _, err := io.ReadFull(client, make([]byte, read)); err != nil {
			t.Fatal(err)
		}
		client.Close()
		<-done
		if read == 1 {
			want = 2 // the bracket belongs to neither
		}
		if got := b.undone.Load(); got != want {
			t.Errorf("after %d bytes: %d undone, want %d", read, got, want)
		}
	}
}

func TestAnUnfinishedBatchIsUndoneWithItsConnection(t *testing.T) {
	b := start(t)
	w := b.dial(t)
	w.send("[" + req("1", "take") + "," + req("2", "wait") + "]\n")
	eventually(t, "both run", func() bool { return b.taken.Load() == 1 && b.waiting.Load() == 1 })
	w.Close()
	eventually(t, "it is undone", func() bool { return b.undone.Load() == 1 })
}

func TestAStopUndoesWhatItCutsOff(t *testing.T) {
	b := start(t)
	w := b.dial(t)
	w.send("[" + req("1", "take") + "," + req("2", "wait") + "]\n")
	eventually(t, "both run", func() bool { return b.taken.Load() == 1 && b.waiting.Load() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	b.Shutdown(ctx)
	if n := b.undone.Load(); n != 1 {
		t.Errorf("undone %d times", n)
	}
}

func TestAMethodThatFailsAfterAllIsUndone(t *testing.T) {
	var undone atomic.Int32
	late := make(chan context.Context, 1)
	s := New([]Method{
		NewMethod("fails", func(ctx context.Context, _ rpc.None) (rpc.None, error) {
			OnUndelivered(ctx, func() { undone.Add(1) })
			late <- ctx
			panic("after all")
		}),
	}, zap.NewNop())
	client, server := net.Pipe()
	defer client.Close()
	go s.serve(s.enter(server, rpc.Peer{}))
	io.WriteString(client, req("1", "fails")+"\n")
	if line, _ := bufio.NewReader(client).ReadString('\n'); !strings.Contains(line, "-32603") || undone.Load() != 1 {
		t.Errorf("got %q, undone %d times", line, undone.Load())
	}
	OnUndelivered(<-late, func() { undone.Add(10) })
	if undone.Load() != 11 {
		t.Errorf("what is too late is undone at once: %d", undone.Load())
	}
	OnUndelivered(t.Context(), func() { t.Error("outside a request") })
}
