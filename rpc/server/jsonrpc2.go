package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"

	"github.com/sourcegraph/jsonrpc2"
)

// stream is what the library sees of a connection. It is the engine here as in the Go client: it reads on one
// goroutine, passes requests on in order, sends responses, and ends with its connection. But it would decode and
// encode ids and results anew, and knows no batches. So it gets only a number for each request, and ids, params
// and results stay with us, byte for byte.
type stream struct{ *Conn }

func newLibrary(c *Conn) *jsonrpc2.Conn {
	quiet := log.New(io.Discard, "", 0) // it would write to stderr
	return jsonrpc2.NewConn(c.ctx, stream{c}, stream{c}, jsonrpc2.SetLogger(quiet))
}

func (s stream) ReadObject(v any) error {
	call, err := s.next()
	if err != nil {
		return err
	}
	return v.(json.Unmarshaler).UnmarshalJSON(fmt.Appendf(nil, `{"method":"","id":%d}`, call.number))
}

func (s stream) Handle(_ context.Context, _ *jsonrpc2.Conn, req *jsonrpc2.Request) {
	s.dispatch(s.callOf(req.ID.Num))
}

var noResult = json.RawMessage("null")

// send has the library pass the number of an answered call to WriteObject. An error means that the answer is not
// sent.
func (c *Conn) send(call *call) error {
	return c.lib.SendResponse(c.ctx, &jsonrpc2.Response{ID: jsonrpc2.ID{Num: call.number}, Result: &noResult})
}

func (s stream) WriteObject(obj any) error {
	data, err := json.Marshal(obj)
	if err != nil {
		return err
	}
	var m struct{ ID uint64 }
	if err := json.Unmarshal(data, &m); err != nil {
		return err
	}
	return s.answer(m.ID)
}

func (s stream) Close() error {
	s.shut()
	return nil
}
