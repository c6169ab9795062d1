package server

import (
	"context"
	"encoding/json"

	"go.uber.org/zap"

	"runtimed/rpc"
)

// call is one request, until its answer has reached the socket or no longer can.
type call struct {
	request
	conn   *Conn
	number uint64
	batch  *batch
	ctx    context.Context
	cancel context.CancelFunc

	answer    []byte
	succeeded bool // answer is the method's result

	// guarded by conn.mu
	cancelled bool // by $/cancelRequest
	decided   bool // whether the answer has reached the socket
	missed    bool // it has not
	undo      []func()
}

type callKey struct{}

func callFrom(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

func (c *Conn) registerLocked(call *call) {
	c.seq++
	call.number = c.seq
	ctx, cancel := context.WithCancel(c.ctx)
	call.ctx, call.cancel = context.WithValue(ctx, callKey{}, call), cancel
	c.calls[call.number] = call
}

func (c *Conn) callOf(number uint64) *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[number]
}

// ConnFrom is the connection that the request of ctx came by, or nil outside one.
func ConnFrom(ctx context.Context) *Conn {
	if c := callFrom(ctx); c != nil {
		return c.conn
	}
	return nil
}

// PeerFrom is the process that made the request of ctx, or the zero Peer outside one.
func PeerFrom(ctx context.Context) rpc.Peer {
	if c := ConnFrom(ctx); c != nil {
		return c.peer
	}
	return rpc.Peer{}
}

// SendProgress sends p to the caller unless it has its answer. It fills in the id. If the peer does not read, p is
// dropped.
func SendProgress(ctx context.Context, p rpc.Progress) {
	c := callFrom(ctx)
	if c == nil || c.id == nil {
		return
	}
	c.conn.mu.Lock()
	defer c.conn.mu.Unlock()
	if c.conn.calls[c.number] == c {
		p.ID = json.RawMessage(c.id)
		c.conn.notifyLocked(rpc.NotifyProgress, p)
	}
}

// OnUndelivered has f run once if no byte of this request's result reaches the socket: the connection was gone,
// the request was cancelled or a notification, the server stopped, or the method failed. f may run on any
// goroutine; after $/cancelRequest it runs before the caller gets its answer.
func OnUndelivered(ctx context.Context, f func()) {
	if c := callFrom(ctx); c != nil && c.addUndo(f) {
		c.conn.guard(f)
	}
}

// addUndo reports whether the result has missed the socket already.
func (c *call) addUndo(f func()) (late bool) {
	c.conn.mu.Lock()
	defer c.conn.mu.Unlock()
	if !c.decided {
		c.undo = append(c.undo, f)
	}
	return c.missed
}

func (c *call) settle(written bool) {
	for _, f := range c.decide(written) {
		c.conn.guard(f)
	}
}

func (c *call) decide(written bool) (undo []func()) {
	c.conn.mu.Lock()
	defer c.conn.mu.Unlock()
	if !c.decided {
		c.decided, c.missed = true, !written
		if c.missed {
			undo = c.undo
		}
	}
	c.undo = nil
	return undo
}

func (c *call) isCancelled() (cancelled, undoable bool) {
	c.conn.mu.Lock()
	defer c.conn.mu.Unlock()
	return c.cancelled, len(c.undo) > 0
}

// guard keeps a panic in f from ending the daemon.
func (c *Conn) guard(f func()) {
	defer func() {
		if p := recover(); p != nil {
			c.srv.log.Error("undoing what was not delivered panicked", zap.Any("panic", p), zap.Stack("stack"))
		}
	}()
	f()
}
