package server

import (
	"context"
	"encoding/json"

	"go.uber.org/zap"

	"runtimed/rpc"
)

// call is one request, from when it is read until its answer has reached the socket or cannot any more.
type call struct {
	conn   *Conn
	number uint64
	request
	batch  *batch
	ctx    context.Context
	cancel context.CancelFunc

	answer    []byte // set before it is handed to the library
	succeeded bool   // answer holds the method's result

	// guarded by conn.mu
	cancelled bool // by $/cancelRequest
	progress  bool
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

// register gives a request its number. Called with mu held, by the reader.
func (c *Conn) register(call *call) {
	c.seq++
	call.number = c.seq
	ctx, cancel := context.WithCancel(c.ctx)
	call.ctx, call.cancel = context.WithValue(ctx, callKey{}, call), cancel
	c.calls[call.number] = call
}

// PeerFrom is the process that made the request, or the zero Peer outside one.
func PeerFrom(ctx context.Context) rpc.Peer {
	if c := callFrom(ctx); c != nil {
		return c.conn.peer
	}
	return rpc.Peer{}
}

// ConnFrom is the connection that the request came by, or nil outside one.
func ConnFrom(ctx context.Context) *Conn {
	if c := callFrom(ctx); c != nil {
		return c.conn
	}
	return nil
}

// SendProgress sends p to who made the request, if it asked for that and has no answer yet. The id is filled in.
// It never blocks: where the peer does not read, p is dropped.
func SendProgress(ctx context.Context, p rpc.Progress) {
	c := callFrom(ctx)
	if c == nil || c.id == nil {
		return
	}
	c.conn.mu.Lock()
	defer c.conn.mu.Unlock()
	if c.progress && c.conn.calls[c.number] == c {
		p.ID = json.RawMessage(c.id)
		c.conn.notify(rpc.NotifyProgress, p)
	}
}

func wantProgress(ctx context.Context) {
	if c := callFrom(ctx); c != nil {
		c.conn.mu.Lock()
		defer c.conn.mu.Unlock()
		c.progress = true
	}
}

// OnUndelivered has f run once if the result of this request provably does not reach the socket: not one byte of it was written,
// because the connection was gone, the request was cancelled or a notification, the server stopped, or the method failed after all.
// f never runs once a byte has been written. It may run on any goroutine, with no lock of this package held; after $/cancelRequest it runs
// before the caller is told. Outside a request it does nothing.
func OnUndelivered(ctx context.Context, f func()) {
	c := callFrom(ctx)
	if c == nil {
		return
	}
	c.conn.mu.Lock()
	late := c.outcome == missed
	if c.outcome == undecided {
		c.undo = append(c.undo, f)
	}
	c.conn.mu.Unlock()
	if late {
		c.conn.guard(f)
	}
}

// settle decides whether the result reached the socket. Only the first time counts.
func (c *call) settle(written bool) {
	c.conn.mu.Lock()
	var undo []func()
	if c.outcome == undecided {
		c.outcome = reached
		if !written {
			c.outcome, undo = missed, c.undo
		}
	}
	c.undo = nil
	c.conn.mu.Unlock()
	for _, f := range undo {
		c.conn.guard(f)
	}
}

// guard keeps a fault in f from ending the daemon.
func (c *Conn) guard(f func()) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("taking back what was not delivered panicked", zap.Any("panic", p), zap.Stack("stack"))
		}
	}()
	f()
}
