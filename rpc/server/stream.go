package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"

	jsonv2 "github.com/go-json-experiment/json"

	"runtimed/rpc"
)

// stream shows the connection to the library. Of each request the library sees no more than a number of ours, and of each
// answer that number again: methods, ids, params and results stay with us, byte for byte.
type stream struct{ *Conn }

// batch collects the answers to one array of requests.
type batch struct {
	missing int // answers still to come
	body    []byte
	marks   []mark
}

// ReadObject implements jsonrpc2.ObjectStream: it returns with the next thing to dispatch.
func (s stream) ReadObject(v any) error {
	for {
		if len(s.todo) > 0 {
			r := s.todo[0]
			s.todo = s.todo[1:]
			if call := s.take(r); call != nil {
				stub := strconv.AppendUint([]byte(`{"method":"","id":`), call.number, 10)
				return v.(json.Unmarshaler).UnmarshalJSON(append(stub, '}'))
			}
			continue
		}
		if err := s.awaitRoom(); err != nil {
			return err
		}
		msg, err := s.in.next()
		s.received()
		var fatal *rpc.Error
		switch {
		case err == nil:
			s.open(msg)
		case errors.As(err, &fatal):
			s.answerUnasked(fatal)
			s.part()
			return io.EOF
		case errors.Is(err, io.EOF):
			s.atEOF()
			return io.EOF
		default:
			return io.EOF // the peer is gone, or never said a word in time: no news for a log
		}
		if s.refuse != nil {
			for len(s.todo) > 0 {
				s.take(s.todo[0])
				s.todo = s.todo[1:]
			}
			s.part()
			return io.EOF
		}
	}
}

// awaitRoom pauses reading while the peer does not read either.
func (c *Conn) awaitRoom() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.full() && !c.closed {
		c.changed.Wait()
	}
	if c.closed {
		return net.ErrClosed
	}
	return nil
}

// open takes a message apart into todo.
func (c *Conn) open(msg []byte) {
	requests, list, err := parse(msg)
	if err != nil {
		c.answerUnasked(err)
		return
	}
	c.todo, c.group = requests, nil
	if !list {
		return
	}
	b := &batch{}
	for _, r := range requests {
		if r.id != nil {
			b.missing++
		}
	}
	if b.missing > 0 {
		c.group = b
		c.mu.Lock()
		if !c.closed {
			c.batches[b] = struct{}{}
		}
		c.mu.Unlock()
	}
}

// answerUnasked answers what is no request.
func (c *Conn) answerUnasked(err *rpc.Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.push(reply(null, nil, err), nil)
	}
}

// take registers a request under a number, or does away with it: an invalid one, an answer, a cancellation.
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
		c.deliver(call, reply(r.id, nil, r.err), false)
		return nil
	}
	c.register(call)
	return call
}

// WriteObject implements jsonrpc2.ObjectStream: it queues the answer that the call with this number has been given.
// An error means that the answer was not and will not be sent.
func (s stream) WriteObject(obj any) error {
	stub, err := json.Marshal(obj)
	if err != nil {
		return err
	}
	digits, _, _ := bytes.Cut(bytes.TrimPrefix(stub, []byte(`{"id":`)), []byte(","))
	number, err := strconv.ParseUint(string(digits), 10, 64)
	if err != nil {
		return fmt.Errorf("reading our own number: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	call := s.calls[number]
	if call == nil || s.closed {
		return net.ErrClosed
	}
	delete(s.calls, number)
	s.deliver(call, call.answer, call.succeeded)
	s.settled()
	return nil
}

// deliver queues an answer, or adds it to its batch. Called with mu held.
func (c *Conn) deliver(call *call, body []byte, succeeded bool) {
	b := call.batch
	switch {
	case call.id == nil: // a notification
	case b == nil && succeeded:
		c.push(body, []mark{{call, 0}})
	case b == nil:
		c.push(body, nil)
	default:
		before := len(b.body)
		b.body = append(b.body, "[,"[min(len(b.body), 1)])
		if succeeded {
			b.marks = append(b.marks, mark{call, len(b.body)})
		}
		b.body = append(b.body, body...)
		c.hold(len(b.body) - before)
		if b.missing--; b.missing == 0 {
			c.hold(-len(b.body))
			delete(c.batches, b)
			c.push(append(b.body, ']'), b.marks)
		}
	}
}

// reply makes an answer of a result, or of an error.
func reply(id, result []byte, err *rpc.Error) []byte {
	var b bytes.Buffer
	b.WriteString(`{"jsonrpc":"2.0","id":`)
	b.Write(id)
	if err == nil {
		b.WriteString(`,"result":`)
		b.Write(result)
	} else {
		data, _ := jsonv2.Marshal(err, rpc.LooseText) // holds nothing that can fail
		b.WriteString(`,"error":`)
		b.Write(data)
	}
	b.WriteByte('}')
	return b.Bytes()
}

// Close implements jsonrpc2.ObjectStream.
func (s stream) Close() error {
	s.shut()
	return nil
}
