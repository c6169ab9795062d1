package rpc

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"runtimed/internal/testkit"
)

// stranger listens and lets the test play the other side.
func stranger(t *testing.T, play func(nc net.Conn, r *bufio.Reader)) string {
	t.Helper()
	path := place(t)
	ln, err := Listen(path)
	testkit.Check(t, err)
	done := make(chan bool)
	go func() {
		defer close(done)
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			play(nc, bufio.NewReader(nc))
			nc.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return path
}

func TestTheClientTellsAStrangerFromADaemon(t *testing.T) {
	line := func(s string) func(net.Conn, *bufio.Reader) {
		return func(nc net.Conn, r *bufio.Reader) {
			r.ReadString('\n')
			io.WriteString(nc, s)
		}
	}
	for name, c := range map[string]struct {
		play func(net.Conn, *bufio.Reader)
		kind string
	}{
		"binary":                    {line("\x00\x00\x00\x05hello\n"), KindProtocol},
		"without an end":            {line("hello"), KindProtocol},
		"JSON of another kind":      {line(`{"ok":true}` + "\n"), KindProtocol},
		"JSON-RPC 1":                {line(`{"id":1,"result":{},"error":null}` + "\n"), KindProtocol},
		"a list":                    {line("[]\n"), KindProtocol},
		"a result of another shape": {line(`{"jsonrpc":"2.0","id":1,"result":{"pid":"seven"}}` + "\n"), KindProtocol},
		"closes at once":            {func(nc net.Conn, _ *bufio.Reader) {}, KindClosed},
		"closes without an answer":  {line(""), KindClosed},
		"refuses the connection": {
			line(`{"jsonrpc":"2.0","id":null,"error":{"code":-32006,"message":"too many","data":{"kind":"overloaded",` +
				`"hint":"wait"}}}` + "\n"), KindOverloaded},
		"an error without a kind": {line(`{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}` + "\n"),
			KindMethodNotFound},
		"an error of its own": {line(`{"jsonrpc":"2.0","id":1,"error":{"code":-5,"message":"no","data":[1]}}` + "\n"),
			KindInternal},
	} {
		t.Run(name, func(t *testing.T) {
			path := stranger(t, c.play)
			cl, err := Dial(t.Context(), path, ClientOptions{})
			testkit.Check(t, err)
			defer cl.Close()
			var info Info
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			err = cl.Call(ctx, MethodInfo, nil, &info)
			if KindOf(err) != c.kind {
				t.Errorf("got %q: %v", KindOf(err), err)
			}
			if (c.kind == KindProtocol || c.kind == KindClosed) && !strings.Contains(err.Error(), path) {
				t.Errorf("%v does not name the path", err)
			}
		})
	}
}

func TestAGivenUpCallSendsACancel(t *testing.T) {
	got := make(chan string, 2)
	path := stranger(t, func(nc net.Conn, r *bufio.Reader) {
		r.ReadString('\n')
		line, _ := r.ReadString('\n')
		got <- line
	})
	cl, err := Dial(t.Context(), path, ClientOptions{})
	testkit.Check(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	cl.Call(ctx, MethodAcquire, nil, nil)
	if line := <-got; !strings.Contains(line, NotifyCancel) || !strings.Contains(line, `"id":1`) {
		t.Errorf("got %q", line)
	}
}

func TestAClientOfADaemonThatDoesNotReadGivesUpInTime(t *testing.T) {
	hold := make(chan bool)
	path := stranger(t, func(net.Conn, *bufio.Reader) { <-hold })
	defer close(hold)
	cl, err := Dial(t.Context(), path, ClientOptions{})
	testkit.Check(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = cl.Call(ctx, "echo", map[string]string{"text": strings.Repeat("x", 900_000)}, nil)
	if KindOf(err) != KindTimeout {
		t.Error(err)
	}
}

func TestAnAnswerWithHalfOfASurrogatePairIsRead(t *testing.T) {
	path := stranger(t, func(nc net.Conn, r *bufio.Reader) {
		r.ReadString('\n')
		fmt.Fprintln(nc, `{"jsonrpc":"2.0","method":"told","params":{"\udc00":"\ud83d"}}`)
		fmt.Fprintln(nc, `{"jsonrpc":"2.0","id":1,"result":{"text":"cut \ud83d","x\ud83d":1}}`)
		r.ReadString('\n')
		fmt.Fprintln(nc,
			`{"jsonrpc":"2.0","id":2,"error":{"code":-32001,"message":"\ud83d","data":{"kind":"pool_empty",`+
				`"hint":"\udc00"}}}`)
		r.ReadString('\n')
	})
	told := make(chan string, 1)
	c, err := Dial(t.Context(), path,
		ClientOptions{OnNotify: func(_ string, params json.RawMessage) { told <- string(params) }})
	testkit.Check(t, err)
	defer c.Close()
	type named struct {
		Text string `json:"text"`
	}
	var got named
	if err := c.Call(t.Context(), "echo", json.RawMessage(`{"text":"\ud83d","text":1}`), &got); err != nil ||
		got.Text != "cut \ufffd" {
		t.Errorf("got %q, %v", got.Text, err)
	}
	if got := <-told; got != "{\"\ufffd\":\"\ufffd\"}" { // the library decodes them once
		t.Errorf("told %s", got)
	}
	err = c.Call(t.Context(), "echo", nil, nil)
	if KindOf(err) != KindPoolEmpty || err.Error() != "\ufffd" {
		t.Errorf("got %v", err)
	}
	if err := c.Call(t.Context(), "echo", named{Text: "\xe9"}, nil); KindOf(err) != KindInvalidParams ||
		err.Error() != "text is not UTF-8" {
		t.Errorf("what is not UTF-8: %v", err)
	}
}
