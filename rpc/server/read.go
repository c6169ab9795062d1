package server

import (
	"bytes"
	"errors"
	"io"
	"net"

	jsonv2 "github.com/go-json-experiment/json"

	"runtimed/rpc"
)

type batch struct {
	missing int
	body    []byte
	marks   []mark
}

// next returns the next call to dispatch. Its error ends the connection.
func (c *Conn) next() (*call, error) {
	for {
		if call := c.nextOfMessage(); call != nil {
			return call, nil
		}
		if err := c.awaitRoom(); err != nil {
			return nil, err
		}
		msg, err := c.in.next()
		c.received()
		fatal, isFatal := errors.AsType[*rpc.Error](err)
		switch {
		case err == nil:
			c.open(msg)
		case isFatal:
			c.todo, c.group = faulty(fatal), nil
		case errors.Is(err, io.EOF):
			c.atEOF()
			return nil, io.EOF
		default:
			return nil, io.EOF
		}
		if isFatal || c.refuse != nil {
			c.nextOfMessage() // answers them all
			c.part()
			return nil, io.EOF
		}
	}
}

func (c *Conn) nextOfMessage() *call {
	for len(c.todo) > 0 {
		r := c.todo[0]
		c.todo = c.todo[1:]
		if call := c.take(r); call != nil {
			return call
		}
	}
	return nil
}

// awaitRoom pauses reading while the peer does not read either.
func (c *Conn) awaitRoom() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.fullLocked() && !c.closed {
		c.changed.Wait()
	}
	if c.closed {
		return net.ErrClosed
	}
	return nil
}

func (c *Conn) open(msg []byte) {
	requests, list := parse(msg)
	c.todo, c.group = requests, nil
	if list {
		c.group = &batch{}
		for _, r := range requests {
			if r.id != nil {
				c.group.missing++
			}
		}
	}
}

// take registers a request, or deals with it and returns nil: an invalid one, an answer, a cancellation.
func (c *Conn) take(r request) *call {
	switch {
	case r.reply:
		return nil
	case r.err == nil && r.id == nil && r.method == rpc.NotifyCancel:
		c.cancelCalls(r.params)
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	call := &call{conn: c, request: r, batch: c.group}
	if r.err == nil {
		r.err = c.refuse
	}
	if r.err != nil {
		c.deliverLocked(call, reply(r.id, nil, r.err))
		return nil
	}
	c.registerLocked(call)
	return call
}

func (c *Conn) answer(number uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	call := c.calls[number]
	if call == nil || c.closed {
		return net.ErrClosed
	}
	delete(c.calls, number)
	c.deliverLocked(call, call.answer)
	c.settledLocked()
	return nil
}

func (c *Conn) deliverLocked(call *call, body []byte) {
	if call.id == nil { // a notification
		return
	}
	b := call.batch
	if b == nil {
		var marks []mark
		if call.succeeded {
			marks = []mark{{call, 0}}
		}
		c.pushLocked(body, marks)
		return
	}
	before := len(b.body)
	b.body = append(b.body, "[,"[min(before, 1)])
	if call.succeeded {
		b.marks = append(b.marks, mark{call, len(b.body)})
		c.batches[b] = struct{}{}
	}
	b.body = append(b.body, body...)
	c.holdLocked(len(b.body) - before)
	if b.missing--; b.missing == 0 {
		c.holdLocked(-len(b.body))
		delete(c.batches, b)
		c.pushLocked(append(b.body, ']'), b.marks)
	}
}

func reply(id, result []byte, err *rpc.Error) []byte {
	member := `,"result":`
	if err != nil {
		member = `,"error":`
		result, _ = jsonv2.Marshal(err, rpc.LooseText)
	}
	return bytes.Join([][]byte{[]byte(`{"jsonrpc":"2.0","id":`), id, []byte(member), result, []byte("}")}, nil)
}
