package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	jsonv2 "github.com/go-json-experiment/json"
	"go.uber.org/zap"

	"runtimed/rpc"
)

// dispatch starts the call, puts it in line, or refuses it. It never blocks.
func (c *Conn) dispatch(call *call) {
	if refused := c.enqueue(call); refused != nil {
		c.finish(call, nil, refused)
	}
}

func (c *Conn) enqueue(call *call) *rpc.Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch cost := call.cost(); {
	case c.closed:
		return nil
	case !c.mayHoldLocked(cost):
		return tooMuch()
	case c.mayRunLocked() && len(c.line) == 0:
		c.running++
		go c.run(call)
	case len(c.line) >= rpc.MaxQueued || c.inLine+cost > c.srv.lineBytes:
		return rpc.Errorf(rpc.KindOverloaded, "too many requests of this connection are in line").
			WithHint("wait for answers before asking on")
	default:
		c.line = append(c.line, call)
		c.inLine += cost
	}
	c.holdLocked(call.cost())
	return nil
}

func (c *Conn) mayRunLocked() bool { return c.running < rpc.MaxRunning && !c.fullLocked() && !c.closed }

func (c *Conn) startNextLocked() {
	for len(c.line) > 0 && c.mayRunLocked() {
		c.running++
		go c.run(c.popLocked(0))
	}
}

func (c *Conn) popLocked(i int) *call {
	call := c.line[i]
	c.inLine -= call.cost()
	if c.line = slices.Delete(c.line, i, i+1); len(c.line) == 0 {
		c.line = nil // gives a burst's array back
	}
	return call
}

func (c *Conn) run(call *call) {
	for call != nil && !c.yield(call) {
		c.invokeAndAnswer(call)
		call = c.nextAfter(call)
	}
}

// yield puts a call back in line if calls that began with it have filled the output since.
func (c *Conn) yield(call *call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || !c.fullLocked() {
		return false
	}
	c.running--
	c.line = slices.Insert(c.line, 0, call)
	c.inLine += call.cost()
	return true
}

func (c *Conn) nextAfter(done *call) *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holdLocked(-done.cost())
	c.running--
	if len(c.line) == 0 || !c.mayRunLocked() {
		c.settledLocked()
		return nil
	}
	c.running++
	return c.popLocked(0)
}

func (c *Conn) invokeAndAnswer(call *call) {
	result, err := c.invoke(call)
	cancelled, undoable := call.isCancelled()
	if err == nil && cancelled && undoable {
		err = context.Canceled // nobody wants the result, and it can be undone
	}
	if err != nil {
		call.settle(false)
		c.finish(call, nil, c.toWire(call, err, cancelled))
		return
	}
	c.finish(call, result, nil)
}

func (c *Conn) finish(call *call, result []byte, fail *rpc.Error) {
	defer call.cancel()
	call.succeeded = fail == nil
	if call.id == nil {
		call.settle(false) // before the connection looks as if all were done
	} else {
		call.answer = reply(call.id, result, fail)
	}
	if c.send(call) != nil {
		call.settle(false)
	}
}

func (c *Conn) invoke(call *call) (result []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	if err := call.ctx.Err(); err != nil {
		return nil, err
	}
	m, ok := c.srv.methods[call.method]
	switch {
	case c.srv.stopping.Load():
		return nil, rpc.Errorf(rpc.KindShuttingDown, "the daemon is stopping")
	case !ok:
		return nil, rpc.Errorf(rpc.KindMethodNotFound, "there is no method %.60q", call.method).
			WithHint("%s lists them", rpc.MethodDiscover)
	case call.id == nil && m.Name == rpc.MethodAcquire:
		return nil, nil // nobody would learn of the environment
	case call.batch != nil && c.batchFull(call.batch):
		return nil, rpc.Errorf(rpc.KindOverloaded, "the answers of this batch are too long together").
			WithHint("ask in several batches")
	}
	return m.call(call.ctx, call.params)
}

// toWire is what the caller sees of an error. One that is not an [rpc.Error] goes to the log instead.
func (c *Conn) toWire(call *call, err error, cancelled bool) *rpc.Error {
	switch e, ok := errors.AsType[*rpc.Error](err); {
	case ok && e != nil && e.Code != 0:
		return e
	case cancelled && errors.Is(err, context.Canceled):
		return errCancelled()
	case c.ctx.Err() != nil:
		return rpc.Errorf(rpc.KindInternal, "the connection is closed")
	}
	c.srv.log.Error("a method failed by a fault of ours", zap.String("method", call.method), zap.Error(err))
	return rpc.Errorf(rpc.KindInternal, "%s failed by a fault of the daemon", call.method).
		WithHint("its log tells more: runt daemon logs")
}

func errCancelled() *rpc.Error { return rpc.Errorf(rpc.KindCancelled, "the request was cancelled") }

// cancelCalls is $/cancelRequest: it ends all calls with that id. Bad params are ignored, since there is no answer.
func (c *Conn) cancelCalls(params []byte) {
	var p rpc.CancelParams
	if len(params) == 0 || jsonv2.Unmarshal(params, &p, rpc.LooseJSON) != nil || len(p.ID) == 0 {
		return
	}
	for _, call := range c.cancelByID(p.ID) {
		c.finish(call, nil, errCancelled())
	}
}

// cancelByID returns the calls that had not started.
func (c *Conn) cancelByID(id []byte) (unstarted []*call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := 0; i < len(c.line); {
		if !bytes.Equal(c.line[i].id, id) {
			i++
			continue
		}
		c.holdLocked(-c.line[i].cost())
		unstarted = append(unstarted, c.popLocked(i))
	}
	for _, call := range c.calls {
		if bytes.Equal(call.id, id) {
			call.cancelled = true
			call.cancel()
		}
	}
	return unstarted
}
