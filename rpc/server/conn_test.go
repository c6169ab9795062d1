package server

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"runtimed/rpc"
)

func req(id, method string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":%q}`, id, method)
}

func cancelled(id string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":%s}}`, id)
}

func TestAWaitingCallHoldsBackNoOther(t *testing.T) {
	b := start(t)
	w := b.dial(t)
	w.send(req("1", "wait") + "\n" + req("2", rpc.MethodPing) + "\n")
	if got := w.line(); got != `{"jsonrpc":"2.0","id":2,"result":{}}` {
		t.Errorf("got %s", got)
	}
	close(b.release)
	if got := w.line(); got != `{"jsonrpc":"2.0","id":1,"result":{}}` {
		t.Errorf("got %s", got)
	}
}

func TestSixtyFourRunAThousandWaitAndTheRestIsRefused(t *testing.T) {
	b := start(t)
	w := b.dial(t)
	const all = rpc.MaxRunning + rpc.MaxQueued
	var sb strings.Builder
	for i := range all {
		sb.WriteString(req(fmt.Sprint(i), "wait") + "\n")
	}
	sb.WriteString(req(`"over"`, rpc.MethodPing) + "\n" + cancelled(fmt.Sprint(all-1)) + "\n" + req(`"fits"`, "wait") +
		"\n" + req(`"over"`, rpc.MethodPing) + "\n")
	w.send(sb.String())
	for _, want := range []struct{ id, kind string }{{`"over"`, rpc.KindOverloaded},
		{fmt.Sprint(all - 1), rpc.KindCancelled}, {`"over"`, rpc.KindOverloaded}} {
		if got := decode(t, w.line()); string(got.ID) != want.id || got.Error == nil ||
			got.Error.Data.Kind != want.kind {
			t.Fatalf("got %s %v, want %v", got.ID, got.Error, want)
		}
	}
	eventually(t, "64 run", func() bool { return b.waiting.Load() == rpc.MaxRunning })
	close(b.release)
	for range all {
		if got := decode(t, w.line()); got.Error != nil {
			t.Errorf("got %v", got.Error)
		}
	}
	if got := w.askOne(req(`"last"`, rpc.MethodPing) + "\n"); got != `{"jsonrpc":"2.0","id":"last","result":{}}` {
		t.Errorf("got %s", got)
	}
	if most := b.most.Load(); most != rpc.MaxRunning {
		t.Errorf("%d ran at once", most)
	}
}

func TestACancelEndsAllCallsWithItsID(t *testing.T) {
	b := start(t)
	w := b.dial(t)
	w.send(req(`"a"`, "wait") + "\n[" + req(`"a"`, "wait") + "," + req(`"b"`, "wait") + "," + cancelled(`"b"`) + "]\n" +
		req(`"c"`, "wait") + "\n")
	eventually(t, "all run", func() bool { return b.waiting.Load() == 3 })
	w.send(cancelled(`"a"`) + "\n")
	got := w.line() + w.line()
	if n := strings.Count(got, `"code":-32800`); n != 3 {
		t.Errorf("got %s", got)
	}
	if n := b.waiting.Load(); n != 1 {
		t.Errorf("%d still wait", n)
	}
}

func TestACancelInTheSameWriteIsNeverTooEarly(t *testing.T) {
	b := start(t)
	w := b.dial(t)
	for i := range 200 {
		id := fmt.Sprint(i)
		w.send(req(id, "wait") + "\n" + cancelled(id) + "\n")
		if got := decode(t, w.line()); got.Error == nil || got.Error.Data.Kind != rpc.KindCancelled {
			t.Fatalf("got %v", got)
		}
	}
}

func TestAClosedConnectionCancelsItsCallsAtOnce(t *testing.T) {
	for name, half := range map[string]bool{"closed": false, "half closed, then closed": true} {
		t.Run(name, func(t *testing.T) {
			b := start(t)
			w := b.dial(t)
			w.send("[" + req("1", "wait") + "," + req("2", "wait") + "]\n" + req("3", "wait") + "\n")
			eventually(t, "all run", func() bool { return b.waiting.Load() == 3 })
			if half {
				w.closeWrite()
				time.Sleep(20 * time.Millisecond) // nothing may happen
				if n := b.waiting.Load(); n != 3 {
					t.Fatalf("%d wait after a half close", n)
				}
			}
			w.Close()
			eventually(t, "the calls end", func() bool { return b.waiting.Load() == 0 && b.Connections() == 0 })
		})
	}
}

func TestAHalfClosedConnectionIsAnsweredThenClosed(t *testing.T) {
	b := start(t)
	w := b.dial(t)
	w.send(req("1", "wait"))
	w.closeWrite()
	eventually(t, "it runs", func() bool { return b.waiting.Load() == 1 })
	close(b.release)
	if got := w.rest(); got != `{"jsonrpc":"2.0","id":1,"result":{}}`+"\n" {
		t.Errorf("got %q", got)
	}
}

func TestAHalfClosedConnectionStaysOpenWhileItIsHeld(t *testing.T) {
	b := start(t)
	w := b.dial(t)
	w.send(req("1", rpc.MethodWatch))
	w.closeWrite()
	c := <-b.conns
	w.line()
	time.Sleep(20 * time.Millisecond)
	if !c.Notify(rpc.NotifyPoolChanged, rpc.PoolChanged{}) {
		t.Error("nothing was sent")
	}
	if got := decode(t, w.line()); got.Method != rpc.NotifyPoolChanged ||
		!strings.Contains(string(got.Params), `"packages":[]`) {
		t.Errorf("got %+v", got)
	}
	w.Close()
	eventually(t, "it ends", func() bool { return b.Connections() == 0 })
	<-c.Context().Done()
	if c.Notify(rpc.NotifyPoolChanged, rpc.PoolChanged{}) {
		t.Error("sent to nobody")
	}

	w = b.dial(t)
	w.send(req("1", rpc.MethodWatch) + "\n")
	release := (<-b.conns).Hold() // a second one, given back below; the first stays
	release()
	release()
	w.closeWrite()
	w.line()
	w.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	if _, err := w.r.ReadByte(); err == io.EOF {
		t.Error("the end came while it was held")
	}
}

// A peer that does not read, seen in fake time.
func TestAPeerThatDoesNotReadIsPausedAndThenClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		client, server := net.Pipe()
		defer client.Close()
		ended := make(chan time.Time, 1)
		begun := time.Now()
		go func() { b.serve(b.enter(server, rpc.Peer{PID: 5})); ended <- time.Now() }()
		sent := 0
		for {
			client.SetWriteDeadline(time.Now().Add(time.Second))
			n, err := io.WriteString(client, `{"jsonrpc":"2.0","id":1,"method":"echo","params":{"size":50000}}`+"\n")
			if sent++; err != nil || n == 0 {
				break
			}
		}
		// What is read but waits is bounded too. What is more than may wait is refused in some 100 bytes, until the
		// first answers are there.
		if sent < rpc.MaxUnsent/50000 || sent > rpc.MaxUnsent/50000+rpc.MaxRunning+rpc.MaxQueued+rpc.MaxUnsent/100 {
			t.Errorf("it read %d requests before it paused", sent)
		}
		if d := (<-ended).Sub(begun); d < rpc.WriteTimeout || d > rpc.WriteTimeout+time.Second {
			t.Errorf("closed after %v", d)
		}
		if b.Connections() != 0 {
			t.Error("still counted")
		}
	})
}

// A sender that never stops gets the answer and then a second, in fake time.
func TestWhatFollowsATooLongMessageIsThrownAwayForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		client, server := net.Pipe()
		defer client.Close()
		begun := time.Now()
		go b.serve(b.enter(server, rpc.Peer{}))
		io.WriteString(client, "Content-Length: 2000000\r\n\r\n")
		got := make([]byte, 1000)
		if n, err := client.Read(got); err != nil || !strings.Contains(string(got[:n]), "-32600") {
			t.Errorf("got %q, %v", got[:n], err)
		}
		for {
			time.Sleep(10 * time.Millisecond)
			if _, err := client.Write(got); err != nil {
				break
			}
		}
		if d := time.Since(begun); d < drainTime || d > drainTime+50*time.Millisecond {
			t.Errorf("closed after %v", d)
		}
	})
}

func TestASilentSurplusConnectionIsClosedAfterASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.mostConns = 1
		var ends []net.Conn
		for range 1 + maxSurplus + 1 {
			client, server := net.Pipe()
			defer client.Close()
			go b.serve(b.enter(server, rpc.Peer{}))
			synctest.Wait()
			ends = append(ends, client)
		}
		if _, err := ends[1+maxSurplus].Read(make([]byte, 1)); err != io.EOF { // more than can be told so
			t.Error(err)
		}
		begun := time.Now()
		for _, silent := range ends[1 : 1+maxSurplus] {
			if _, err := silent.Read(make([]byte, 1)); err != io.EOF {
				t.Error(err)
			}
		}
		if d := time.Since(begun); d != silenceTime {
			t.Errorf("closed after %v", d)
		}
		if n := b.Connections(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

func TestAPeerThatReadsAgainGetsEverything(t *testing.T) {
	b := start(t)
	w := b.dial(t)
	const n = 200
	go io.WriteString(w, strings.Repeat(`{"jsonrpc":"2.0","id":1,"method":"echo","params":{"size":50000}}`+"\n", n)+
		req(`"last"`, rpc.MethodPing)+"\n")
	time.Sleep(50 * time.Millisecond)
	for range n + 1 {
		w.line()
	}
}

func TestAClosedPeerIsSeenWhileReadingIsPaused(t *testing.T) {
	b := start(t)
	w := b.dial(t)
	w.send(req("1", "wait") + "\n")
	eventually(t, "it runs", func() bool { return b.waiting.Load() == 1 })
	w.send(strings.Repeat(`{"jsonrpc":"2.0","id":1,"method":"echo","params":{"size":100000}}`+"\n", 100))
	time.Sleep(50 * time.Millisecond)
	w.Close()
	eventually(t, "the call ends", func() bool { return b.waiting.Load() == 0 && b.Connections() == 0 })
}

func TestASlowReaderDelaysNobodyElse(t *testing.T) {
	b := start(t)
	slow := b.dial(t)
	go io.WriteString(slow,
		strings.Repeat(`{"jsonrpc":"2.0","id":1,"method":"echo","params":{"size":9000}}`+"\n",
			10000)) // fails when the test ends
	time.Sleep(50 * time.Millisecond)
	w := b.dial(t)
	var times []time.Duration
	for range 50 {
		begun := time.Now()
		w.askOne(req("1", rpc.MethodPing) + "\n")
		times = append(times, time.Since(begun))
	}
	if slices.Sort(times); times[25] > 100*time.Millisecond {
		t.Errorf("a ping takes %v", times[25])
	}
}

func TestTheAnswersOfABatchAreBounded(t *testing.T) {
	b := start(t, func(b *bench) { b.batchBytes = 100_000 })
	one := `{"jsonrpc":"2.0","id":1,"method":"echo","params":{"size":10000}}`
	got := b.dial(t).askOne("[" + strings.Repeat(one+",", 499) + one + "]\n")
	if ok := strings.Count(got, "xxx\""); ok < 10 || ok > 10+rpc.MaxRunning ||
		strings.Count(got, `"code":-32006`) != 500-ok {
		t.Errorf("%d answered, %d refused", ok, strings.Count(got, `"code":-32006`))
	}
}

func TestWhatWaitsInLineIsBoundedInBytesToo(t *testing.T) {
	b := start(t, func(b *bench) { b.lineBytes = 100_000 })
	w := b.dial(t)
	w.send(strings.Repeat(req("1", "wait")+"\n", rpc.MaxRunning))
	w.send(strings.Repeat(`{"jsonrpc":"2.0","id":2,"method":"echo","params":{"text":"`+strings.Repeat("x", 10_000)+
		"\"}}\n", 12))
	for range 3 {
		if got := decode(t, w.line()); got.Error == nil || got.Error.Data.Kind != rpc.KindOverloaded {
			t.Errorf("got %+v", got)
		}
	}
}

func TestProgressGoesToWhoAskedAndNeverAfterTheAnswer(t *testing.T) {
	b := start(t)
	w := b.dial(t)
	for _, id := range []string{`1.50`, `"\u0041"`, `null`} {
		w.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"echo","params":{"progress":true}}`+"\n", id))
		want := `{"jsonrpc":"2.0","method":"$/progress","params":{"id":` + id + `,"stage":"queued","message":"half"}}`
		if got := w.line(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		w.line()
	}
	for _, params := range []string{`{"progress":false}`, `{"progress":null}`, `{}`} {
		got := w.askOne(`{"jsonrpc":"2.0","id":1,"method":"echo","params":` + params + "}\n")
		if strings.Contains(got, "progress") {
			t.Errorf("with %s: %s", params, got)
		}
	}
	w.askOne(req("2", rpc.MethodPing) + "\n") // the next line is this answer, and nothing late
}

func (w *wire) askOne(s string) string {
	w.t.Helper()
	w.send(s)
	return w.line()
}
