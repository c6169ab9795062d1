package server

import (
	"context"
	"encoding/json"

	"go.uber.org/zap"

	"runtimed/rpc"
)

// call is one request, from when it is read until its answer has reached the socket, or cannot any more.
type call struct {
	request
	conn   *Conn
	number uint64
	batch  *batch
	ctx    context.Context
	cancel context.CancelFunc

	answer    []byte // set before it is sent
	succeeded bool   // answer is the method's result

	// guarded by conn.mu
	cancelled bool // by $/cancelRequest
	outcome   outcome
	undo      []func()
}

type outcome int

const (
	undecided outcome = iota
	reached
	missed
)

type callKey struct{}

func callFrom(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// registerLocked gives a request its number.
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

// SendProgress sends p to the caller, if it has no answer yet. It fills in the id.
// It never blocks: if the peer does not read, p is dropped.
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

// OnUndelivered has f run once if the result of this request certainly does not reach the socket: not a byte of it was
// written, because the connection was gone, the request was cancelled or a notification, the server stopped, or the
// method failed. f may run on any goroutine, without a lock of this package; after $/cancelRequest it runs before the
// caller gets its answer. Outside a request OnUndelivered does nothing.
func OnUndelivered(ctx context.Context, f func()) {
	if c := callFrom(ctx); c != nil && c.addUndo(f) {
		c.conn.guard(f)
	}
}

// addUndo reports whether f is too late: the result has missed the socket already.
func (c *call) addUndo(f func()) (late bool) {
	c.conn.mu.Lock()
	defer c.conn.mu.Unlock()
	if c.outcome == undecided {
		c.undo = append(c.undo, f)
	}
	return c.outcome == missed
}

// settle decides whether the result reached the socket. Only the first time counts.
func (c *call) settle(written bool) {
	for _, f := range c.decide(written) {
		c.conn.guard(f)
	}
}

func (c *call) decide(written bool) (undo []func()) {
	c.conn.mu.Lock()
	defer c.conn.mu.Unlock()
	if c.outcome == undecided {
		c.outcome = reached
		if !written {
			c.outcome, undo = missed, c.undo
		}
	}
	c.undo = nil
	return undo
}

// isCancelled also reports whether what the method did can be undone.
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
