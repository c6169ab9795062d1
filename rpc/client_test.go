//go:build unix

package rpc

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stranger listens and lets the test play the other side.
func stranger(t *testing.T, play func(nc net.Conn, r *bufio.Reader)) string {
	t.Helper()
	path := filepath.Join(shortDir(t), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
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

func TestTheClientSaysWhyTheDaemonIsNotReached(t *testing.T) {
	dir := shortDir(t)
	file := filepath.Join(dir, "file")
	os.WriteFile(file, nil, 0o600)
	dead := filepath.Join(dir, "dead")
	ln, err := Listen(dead)
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	for path, want := range map[string]string{
		filepath.Join(dir, "none"):            "not running",
		dead:                                  "not running",
		file:                                  "is a file",
		"/" + strings.Repeat("x", 200):        "RUNTIMED_SOCKET",
		filepath.Join(dir, "no", "such", "s"): "not running",
	} {
		_, err := Dial(t.Context(), path, ClientOptions{})
		if KindOf(err) != KindUnreachable || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
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
		"refuses the connection":    {line(`{"jsonrpc":"2.0","id":null,"error":{"code":-32006,"message":"too many","data":{"kind":"overloaded","hint":"wait"}}}` + "\n"), KindOverloaded},
		"an error without a kind":   {line(`{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}` + "\n"), KindMethodNotFound},
		"an error of its own":       {line(`{"jsonrpc":"2.0","id":1,"error":{"code":-5,"message":"no","data":[1]}}` + "\n"), KindInternal},
	} {
		t.Run(name, func(t *testing.T) {
			path := stranger(t, c.play)
			cl, err := Dial(t.Context(), path, ClientOptions{})
			if err != nil {
				t.Fatal(err)
			}
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

func TestACallThatIsGivenUpTellsTheDaemonAndEndsTheConnection(t *testing.T) {
	b := start(t, Options{})
	for _, c := range []struct {
		kind string
		ctx  func() (context.Context, context.CancelFunc)
	}{
		{KindTimeout, func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 30*time.Millisecond)
		}},
		{KindCancelled, func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(30*time.Millisecond, cancel)
			return ctx, cancel
		}},
	} {
		cl, err := Dial(t.Context(), b.path, ClientOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := c.ctx()
		defer cancel()
		if err := cl.Call(ctx, "wait", nil, nil); KindOf(err) != c.kind {
			t.Errorf("got %q: %v", KindOf(err), err)
		}
		<-cl.Done()
		eventually(t, "the call ends", func() bool { return b.waiting.Load() == 0 })
		if err := cl.Call(t.Context(), MethodPing, nil, nil); KindOf(err) != KindClosed {
			t.Errorf("afterwards: %v", err)
		}
		if err := cl.Call(ctx, MethodPing, nil, nil); KindOf(err) != c.kind {
			t.Errorf("with a context that has ended: %v", err)
		}
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
	if err != nil {
		t.Fatal(err)
	}
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
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = cl.Call(ctx, "echo", map[string]string{"text": strings.Repeat("x", 900_000)}, nil)
	if KindOf(err) != KindTimeout {
		t.Error(err)
	}
}

func TestNotificationsComeBeforeTheAnswer(t *testing.T) {
	b := start(t, Options{})
	var got []string
	cl, err := Dial(t.Context(), b.path, ClientOptions{OnNotify: func(method string, params json.RawMessage) {
		var p Progress
		json.Unmarshal(params, &p)
		got = append(got, method+" "+p.Stage+" "+string(p.ID))
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	yes := true
	var r echoResult
	if err := cl.Call(t.Context(), "echo", echoParams{Text: "é<>&", Progress: &yes}, &r); err != nil || r.Text != "é<>&" {
		t.Fatalf("%+v, %v", r, err)
	}
	if len(got) != 1 || got[0] != "$/progress queued 1" {
		t.Errorf("got %v", got)
	}
	raw, err := cl.CallRaw(t.Context(), "echo", json.RawMessage(`{"text":"raw"}`))
	if err != nil || string(raw) != `{"text":"raw","list":[],"map":{}}` {
		t.Errorf("%s, %v", raw, err)
	}
	if _, err := cl.CallRaw(t.Context(), "echo", json.RawMessage(`{`)); KindOf(err) != KindInvalidParams {
		t.Errorf("got %v", err)
	}
	err = cl.Call(t.Context(), "echo", map[string]int{"nope": 1}, nil)
	if e := err.(*Error); e.Data.Kind != KindInvalidParams || e.Data.Param != "nope" || e.Data.Hint == "" {
		t.Errorf("got %+v", e)
	}
}

func TestManyCallsShareOneClient(t *testing.T) {
	b := start(t, Options{})
	cl, err := Dial(t.Context(), b.path, ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	errs := make(chan error)
	for i := range 200 {
		go func() {
			var r echoResult
			err := cl.Call(t.Context(), "echo", echoParams{Text: fmt.Sprint(i)}, &r)
			if err == nil && r.Text != fmt.Sprint(i) {
				err = fmt.Errorf("%d got the answer of %s", i, r.Text)
			}
			errs <- err
		}()
	}
	for range 200 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestAnAnswerWithHalfOfASurrogatePairIsRead(t *testing.T) {
	path := stranger(t, func(nc net.Conn, r *bufio.Reader) {
		r.ReadString('\n')
		fmt.Fprintln(nc, `{"jsonrpc":"2.0","method":"told","params":{"\udc00":"\ud83d"}}`)
		fmt.Fprintln(nc, `{"jsonrpc":"2.0","id":1,"result":{"text":"cut \ud83d","x\ud83d":1}}`)
		r.ReadString('\n')
		fmt.Fprintln(nc, `{"jsonrpc":"2.0","id":2,"error":{"code":-32001,"message":"\ud83d","data":{"kind":"pool_empty","hint":"\udc00"}}}`)
		r.ReadString('\n')
	})
	told := make(chan string, 1)
	c, err := Dial(t.Context(), path, ClientOptions{OnNotify: func(_ string, params json.RawMessage) { told <- string(params) }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var got echoResult
	if err := c.Call(t.Context(), "echo", json.RawMessage(`{"text":"\ud83d","text":1}`), &got); err != nil || got.Text != "cut \ufffd" {
		t.Errorf("got %q, %v", got.Text, err)
	}
	if got := <-told; got != "{\"\ufffd\":\"\ufffd\"}" { // the library decodes them once
		t.Errorf("told %s", got)
	}
	err = c.Call(t.Context(), "echo", nil, nil)
	if KindOf(err) != KindPoolEmpty || err.Error() != "\ufffd" {
		t.Errorf("got %v", err)
	}
	if err := c.Call(t.Context(), "echo", echoParams{Text: "\xe9"}, nil); KindOf(err) != KindInvalidParams || err.Error() != "text is not UTF-8" {
		t.Errorf("what is not UTF-8: %v", err)
	}
}
