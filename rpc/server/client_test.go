package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"runtimed/internal/testkit"
	"runtimed/rpc"
)

func TestACallThatIsGivenUpTellsTheDaemonAndEndsTheConnection(t *testing.T) {
	b := start(t)
	for _, c := range []struct {
		kind string
		ctx  func() (context.Context, context.CancelFunc)
	}{
		{rpc.KindTimeout, func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 30*time.Millisecond)
		}},
		{rpc.KindCancelled, func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(30*time.Millisecond, cancel)
			return ctx, cancel
		}},
	} {
		cl, err := rpc.Dial(t.Context(), b.path, rpc.ClientOptions{})
		testkit.Check(t, err)
		ctx, cancel := c.ctx()
		defer cancel()
		if err := cl.Call(ctx, "wait", nil, nil); rpc.KindOf(err) != c.kind {
			t.Errorf("got %q: %v", rpc.KindOf(err), err)
		}
		<-cl.Done()
		eventually(t, "the call ends", func() bool { return b.waiting.Load() == 0 })
		if err := cl.Call(t.Context(), rpc.MethodPing, nil, nil); rpc.KindOf(err) != rpc.KindClosed {
			t.Errorf("afterwards: %v", err)
		}
		if err := cl.Call(ctx, rpc.MethodPing, nil, nil); rpc.KindOf(err) != c.kind {
			t.Errorf("with a context that has ended: %v", err)
		}
	}
}

func TestNotificationsComeBeforeTheAnswer(t *testing.T) {
	b := start(t)
	var got []string
	cl, err := rpc.Dial(t.Context(), b.path, rpc.ClientOptions{OnNotify: func(method string, params json.RawMessage) {
		var p rpc.Progress
		json.Unmarshal(params, &p)
		got = append(got, method+" "+p.Stage+" "+string(p.ID))
	}})
	testkit.Check(t, err)
	defer cl.Close()
	yes := true
	var r echoResult
	if err := cl.Call(t.Context(), "echo", echoParams{Text: "é<>&", Progress: &yes}, &r); err != nil ||
		r.Text != "é<>&" {
		t.Fatalf("%+v, %v", r, err)
	}
	if len(got) != 1 || got[0] != "$/progress queued 1" {
		t.Errorf("got %v", got)
	}
	raw, err := cl.CallRaw(t.Context(), "echo", json.RawMessage(`{"text":"raw"}`))
	if err != nil || string(raw) != `{"text":"raw","list":[],"map":{}}` {
		t.Errorf("%s, %v", raw, err)
	}
	if _, err := cl.CallRaw(t.Context(), "echo", json.RawMessage(`{`)); rpc.KindOf(err) != rpc.KindInvalidParams {
		t.Errorf("got %v", err)
	}
	err = cl.Call(t.Context(), "echo", map[string]int{"nope": 1}, nil)
	if e := err.(*rpc.Error); e.Data.Kind != rpc.KindInvalidParams || e.Data.Param != "nope" || e.Data.Hint == "" {
		t.Errorf("got %+v", e)
	}
}

func TestManyCallsShareOneClient(t *testing.T) {
	b := start(t)
	cl, err := rpc.Dial(t.Context(), b.path, rpc.ClientOptions{})
	testkit.Check(t, err)
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

func TestListenSaysWhoHasTheSocket(t *testing.T) {
	b := start(t)
	_, err := rpc.Listen(b.path)
	if !errors.Is(err, rpc.ErrSocketInUse) || !strings.Contains(err.Error(), "runtimed 1.2.3, pid 77") ||
		!strings.Contains(err.Error(), b.path) {
		t.Errorf("got %v", err)
	}
	b.dial(t).askOne(req("1", rpc.MethodPing) + "\n")

	path := place(t)
	ln, err := rpc.Listen(path)
	testkit.Check(t, err)
	defer ln.Close()
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			nc.Write([]byte("\x00\x01garbage\n"))
			nc.Close()
		}
	}()
	if _, err := rpc.Listen(path); !errors.Is(err, rpc.ErrSocketInUse) {
		t.Errorf("got %v", err)
	}
}
