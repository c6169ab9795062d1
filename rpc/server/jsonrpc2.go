package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"

	"github.com/sourcegraph/jsonrpc2"
)

// stream is all that github.com/sourcegraph/jsonrpc2 sees of a connection. The library is the engine of the Go client,
// which matches answers to calls with it, and here for the same reason: it reads on one goroutine, passes requests on
// in their order, sends responses, and ends with its connection. But it decodes ids and results to encode them again,
// and knows no batches, so it gets only a number for each request. Methods, ids, params and results stay with us, byte
// for byte.
type stream struct{ *Conn }

func newLibrary(c *Conn) *jsonrpc2.Conn {
	quiet := log.New(io.Discard, "", 0) // it would write to stderr
	return jsonrpc2.NewConn(c.ctx, stream{c}, stream{c}, jsonrpc2.SetLogger(quiet))
}

// ReadObject returns the number of the next request.
func (s stream) ReadObject(v any) error {
	call, err := s.next()
	if err != nil {
		return err
	}
	return v.(json.Unmarshaler).UnmarshalJSON(fmt.Appendf(nil, `{"method":"","id":%d}`, call.number))
}

// Handle gets that number back, on the goroutine that reads.
func (s stream) Handle(_ context.Context, _ *jsonrpc2.Conn, req *jsonrpc2.Request) {
	s.dispatch(s.callOf(req.ID.Num))
}

// noResult stands for every answer.
var noResult = json.RawMessage("null")

// send passes the number of an answered call through the library, which gives it to WriteObject.
// An error means that the answer was not and will not be sent.
func (c *Conn) send(call *call) error {
	return c.lib.SendResponse(c.ctx, &jsonrpc2.Response{ID: jsonrpc2.ID{Num: call.number}, Result: &noResult})
}

// WriteObject queues the answer to the call with the number in obj.
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
