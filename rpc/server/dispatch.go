package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/sourcegraph/jsonrpc2"
	"go.uber.org/zap"

	"runtimed/rpc"
)

// Handle implements jsonrpc2.Handler on the reader's goroutine: it starts the call, puts it in line, or refuses it. It never blocks.
func (s stream) Handle(_ context.Context, _ *jsonrpc2.Conn, req *jsonrpc2.Request) {
	s.mu.Lock()
	call := s.calls[req.ID.Num]
	var refused *rpc.Error
	switch cost := call.cost(); {
	case s.closed:
	case !s.mayHold(cost):
		refused = tooMuch()
	case s.mayRun() && len(s.line) == 0:
		s.hold(cost)
		s.running++
		go s.run(call)
	case len(s.line) >= rpc.MaxQueued || s.inLine+cost > s.srv.lineBytes:
		refused = rpc.Errorf(rpc.KindOverloaded, "too many requests of this connection are in line").
			WithHint("wait for answers before asking on")
	default:
		s.hold(cost)
		s.line = append(s.line, call)
		s.inLine += cost
	}
	s.mu.Unlock()
	if refused != nil {
		s.finish(call, nil, refused)
	}
}

// mayRun is called with mu held.
func (c *Conn) mayRun() bool { return c.running < rpc.MaxRunning && !c.full() && !c.closed }

// startNext starts what is in line, as far as there is room. Called with mu held.
func (c *Conn) startNext() {
	for len(c.line) > 0 && c.mayRun() {
		c.running++
		go c.run(c.popLine(0))
	}
}

// popLine is called with mu held.
func (c *Conn) popLine(i int) *call {
	call := c.line[i]
	c.inLine -= call.cost()
	copy(c.line[i:], c.line[i+1:])
	c.line[len(c.line)-1] = nil
	if c.line = c.line[:len(c.line)-1]; len(c.line) == 0 {
		c.line = nil // gives a burst's array back
	}
	return call
}

// run serves call and then, while there is any, the next in line.
func (c *Conn) run(call *call) {
	for {
		if c.yield(call) {
			return
		}
		c.serve(call)
		c.mu.Lock()
		c.hold(-call.cost())
		c.running--
		if len(c.line) == 0 || !c.mayRun() {
			c.settled()
			c.mu.Unlock()
			return
		}
		c.running++
		call = c.popLine(0)
		c.mu.Unlock()
	}
}

// yield puts a call back in line where answers have piled up since it was let run: those of its neighbours, which began with it.
func (c *Conn) yield(call *call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || !c.full() {
		return false
	}
	c.running--
	c.line = slices.Insert(c.line, 0, call)
	c.inLine += call.cost()
	return true
}

func (c *Conn) serve(call *call) {
	result, err := c.invoke(call)
	c.mu.Lock()
	cancelled := call.cancelled
	if err == nil && cancelled && len(call.undo) > 0 {
		err = context.Canceled // it finished all the same, but can be undone
	}
	c.mu.Unlock()
	if err == nil {
		c.finish(call, result, nil)
		return
	}
	call.settle(false)
	c.finish(call, nil, c.toWire(call, err, cancelled))
}

// finish ends a call: it hands the answer to the library, which hands it to WriteObject.
func (c *Conn) finish(call *call, result []byte, fail *rpc.Error) {
	defer call.cancel()
	call.succeeded = fail == nil
	if call.id != nil {
		call.answer = reply(call.id, result, fail)
	}
	err := c.lib.SendResponse(c.ctx, &jsonrpc2.Response{ID: jsonrpc2.ID{Num: call.number}, Result: &noResult})
	if err != nil || call.id == nil {
		call.settle(false)
	}
}

// noResult stands for every answer in the eyes of the library.
var noResult = json.RawMessage(null)

func (c *Conn) invoke(call *call) (result []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	if err := call.ctx.Err(); err != nil {
		return nil, err
	}
	if c.srv.stopping.Load() {
		return nil, rpc.Errorf(rpc.KindShuttingDown, "the daemon is stopping")
	}
	m, ok := c.srv.methods[call.method]
	switch {
	case !ok:
		return nil, rpc.Errorf(rpc.KindMethodNotFound, "there is no method %.60q", call.method).WithHint("%s lists them", rpc.MethodDiscover)
	case call.id == nil && m.Name == rpc.MethodAcquire:
		return nil, nil // nobody would learn of the environment
	case call.batch != nil && c.batchFull(call.batch):
		return nil, rpc.Errorf(rpc.KindOverloaded, "the answers of this batch are too long together").WithHint("ask in several batches")
	}
	return m.call(call.ctx, call.params)
}

// toWire makes what the caller sees of an error. What is none of ours goes to the log instead.
func (c *Conn) toWire(call *call, err error, cancelled bool) *rpc.Error {
	var e *rpc.Error
	switch {
	case errors.As(err, &e) && e != nil && e.Code != 0:
		return e
	case cancelled && errors.Is(err, context.Canceled):
		return rpc.Errorf(rpc.KindCancelled, "the request was cancelled")
	case c.ctx.Err() != nil:
		return rpc.Errorf(rpc.KindInternal, "the connection is closed") // nobody will read it
	}
	c.log.Error("a method failed by a fault of ours", zap.String("method", call.method), zap.Error(err))
	return rpc.Errorf(rpc.KindInternal, "%s failed by a fault of the daemon", call.method).WithHint("its log tells more: runt daemon logs")
}

// cancelCalls is $/cancelRequest: it ends all calls with that id. What it names wrongly is ignored, as it has no answer.
func (c *Conn) cancelCalls(params []byte) {
	var p rpc.CancelParams
	if len(params) == 0 || jsonv2.Unmarshal(params, &p, rpc.LooseJSON) != nil || len(p.ID) == 0 {
		return
	}
	var unstarted []*call
	c.mu.Lock()
	for i := 0; i < len(c.line); i++ {
		if bytes.Equal(c.line[i].id, p.ID) {
			c.hold(-c.line[i].cost())
			unstarted = append(unstarted, c.popLine(i))
			i--
		}
	}
	for _, call := range c.calls {
		if bytes.Equal(call.id, p.ID) {
			call.cancelled = true
			call.cancel()
		}
	}
	c.mu.Unlock()
	for _, call := range unstarted {
		c.finish(call, nil, rpc.Errorf(rpc.KindCancelled, "the request was cancelled"))
	}
}
