package server

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"runtimed/rpc"
)

// answersSoon has a client that is new ask something small, and something of 4 KiB.
func (b *bench) answersSoon(t *testing.T) {
	t.Helper()
	w := b.dial(t)
	for _, size := range []int{1, 4000} {
		got := decode(t,
			w.askOne(`{"jsonrpc":"2.0","id":1,"method":"echo","params":{"text":"`+strings.Repeat("x", size)+"\"}}\n"))
		if got.Error != nil {
			t.Errorf("a new client with %d bytes: %v", size, got.Error)
		}
	}
	w.Close()
}

// push sends as much as is taken: who reads no answers is not read on from.
func (w *wire) push(s string) {
	w.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	w.Write([]byte(s))
}

func TestWhatAllConnectionsHoldTogetherIsBounded(t *testing.T) {
	const most = 1 << 20
	for name, crowd := range map[string]func(b *bench, w *wire){
		"requests that run and in line": func(b *bench, w *wire) {
			w.push(strings.Repeat(req("1", "wait")+"\n", rpc.MaxRunning))
			w.push(strings.Repeat(`{"jsonrpc":"2.0","id":2,"method":"echo","params":{"text":"`+
				strings.Repeat("x", 10_000)+"\"}}\n", 20))
		},
		"long ids and methods": func(b *bench, w *wire) {
			w.push(strings.Repeat(`{"jsonrpc":"2.0","id":"`+strings.Repeat("x", 10_000)+"\",\"method\":\"wait\"}\n",
				20))
		},
		"messages half received": func(b *bench, w *wire) { w.Write([]byte("{" + strings.Repeat(" ", 100_000))) },
		"bodies half received": func(b *bench, w *wire) {
			w.Write([]byte("Content-Length: 900000\r\n\r\n" + strings.Repeat(" ", 100_000)))
		},
		"answers of batches": func(b *bench, w *wire) {
			one := `{"jsonrpc":"2.0","id":2,"method":"echo","params":{"size":10000}}`
			w.send("[" + req("1", "wait") + strings.Repeat(","+one, 50) + "]\n")
		},
		"answers that nobody reads": func(b *bench, w *wire) {
			w.push(strings.Repeat(`{"jsonrpc":"2.0","id":2,"method":"echo","params":{"size":10000}}`+"\n", 500))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, func(b *bench) { b.maxHeld = most })
			var all []*wire
			for range 50 {
				w := b.dial(t)
				all = append(all, w)
				crowd(b, w)
			}
			eventually(t, "a good part is held", func() bool { return b.held.Load() > most/3 })
			b.answersSoon(t)
			// besides the bound: what each always may, and answers that were begun side by side when there was room
			if held := b.held.Load(); held > most+50*(rpc.MinHeld+100_000) {
				t.Errorf("%d bytes are held", held)
			}
			for _, w := range all {
				w.Close()
			}
			eventually(t, "nothing is held", func() bool { return b.held.Load() == 0 })
		})
	}
}

func TestOneConnectionAloneMayHoldAllThatOneMay(t *testing.T) {
	b := start(t)
	w := b.dial(t)
	w.SetDeadline(time.Now().Add(time.Minute))
	w.send(strings.Repeat(req("1", "wait")+"\n", rpc.MaxRunning))
	one := fmt.Sprintf(`{"jsonrpc":"2.0","id":2,"method":"wait","params":{"text":"%s"}}`+"\n",
		strings.Repeat("x", 500_000))
	for range 30 {
		w.send(one)
	}
	w.send(req("3", rpc.MethodPing) + "\n")
	eventually(t, "15 MB are in line", func() bool { return b.held.Load() > 30*500_000 })
	for range 6 {
		w.send(one)
	}
	if got := decode(t, w.line()); got.Error == nil || got.Error.Data.Kind != rpc.KindOverloaded {
		t.Errorf("got %+v", got)
	}
}
