package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/sourcegraph/jsonrpc2"
)

// lastWord is the time to tell the daemon of a call that is given up.
const lastWord = 100 * time.Millisecond

// Client is one connection to the daemon, and ends with it. It is safe for concurrent use. All its errors are of
// type *[Error]: the daemon's own, or of kind unreachable, untrusted, timeout, closed or protocol.
type Client struct {
	path   string
	stream *clientStream
	rpc    *jsonrpc2.Conn
	seq    atomic.Uint64
}

type ClientOptions struct {
	// OnNotify is called for each notification, in order, before any later answer. It must not call the client.
	OnNotify func(method string, params json.RawMessage)
}

// Dial connects to the daemon on path, which must be of our own user or of root. It does not start one.
func Dial(ctx context.Context, path string, opts ClientOptions) (*Client, error) {
	if err := CheckSocketPath(runtime.GOOS, path); err != nil {
		return nil, Errorf(KindUnreachable, "%s", err.Error())
	}
	nc, err := dial(ctx, path)
	if err != nil {
		return nil, unreachable(path, err)
	}
	return newClient(nc, path, opts), nil
}

// StartHint is the hint of an error whose reason is that no daemon runs.
const StartHint = "start it with: runt daemon start"

func unreachable(path string, err error) *Error {
	var known *Error
	var sys syscall.Errno
	switch {
	case errors.As(err, &known):
		return known
	case isFile(path):
		return Errorf(KindUnreachable, "%s is a file, not the daemon's socket", path).
			WithHint("move it away, or set %s", envSocket)
	case errors.Is(err, fs.ErrNotExist):
		return Errorf(KindUnreachable, "the daemon is not running: there is no %s at %s", endpointWord, path).
			WithHint(StartHint)
	case errors.Is(err, syscall.ECONNREFUSED):
		return Errorf(KindUnreachable, "the daemon is not running: nobody listens on %s", path).WithHint(StartHint)
	case errors.Is(err, fs.ErrPermission):
		return Errorf(KindUnreachable, "no permission to use the %s %s", endpointWord, path).
			WithHint("run as the user whose daemon it is, or set %s", envSocket)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return Errorf(KindTimeout, "the daemon at %s did not accept the connection in time", path).WithHint(seeLogs)
	case errors.Is(err, context.Canceled):
		return Errorf(KindCancelled, "the call was cancelled")
	case errors.As(err, &sys):
		err = sys // the rest of net's text repeats the path
	}
	return Errorf(KindUnreachable, "the daemon cannot be reached at %s: %v", path, err).WithHint(StartHint)
}

const seeLogs = "see what it does with: runt daemon logs"

func newClient(nc net.Conn, path string, opts ClientOptions) *Client {
	c := &Client{path: path, stream: newClientStream(nc, path)}
	handler := notifyHandler{opts.OnNotify}
	c.rpc = jsonrpc2.NewConn(context.Background(), c.stream, handler, jsonrpc2.SetLogger(log.New(io.Discard, "", 0)))
	return c
}

// Peer is the process that opened the socket: the daemon, or a service manager. If its PID is 0, it is in a PID
// namespace that cannot be seen from here, and the PID of daemon.info means nothing here either.
func (c *Client) Peer() (Peer, error) { return PeerOf(c.stream.nc) }

// Call calls method and stores the answer in result, a pointer or nil. If ctx ends first, the daemon is told and
// the connection closed, so that no late answer is taken for another.
func (c *Client) Call(ctx context.Context, method string, params, result any) error {
	raw, err := c.CallRaw(ctx, method, params)
	if err != nil || result == nil {
		return err
	}
	if err := jsonv2.Unmarshal(raw, result, LooseText); err != nil {
		return notUnderstood(c.path, "its answer to "+method+" has another shape").
			WithHint("the daemon and this program may be of different versions")
	}
	return nil
}

func encodeParams(method string, params any) (data []byte, err error) {
	if raw, ok := params.(json.RawMessage); ok {
		if !utf8.Valid(raw) {
			return nil, Errorf(KindInvalidParams, "the params of %s are not UTF-8", method)
		}
		data, err = jsonv2.Marshal(raw, LooseJSON, jsontext.PreserveRawStrings(true))
	} else {
		data, err = jsonv2.Marshal(params)
		var syntax *jsontext.SyntacticError
		if errors.As(err, &syntax) {
			member := Member(syntax.JSONPointer)
			return nil, BadParam(member, "%s is not UTF-8", member)
		}
	}
	if err != nil {
		return nil, Errorf(KindInvalidParams, "the params of %s are not JSON: %v", method, err)
	}
	return data, nil
}

// CallRaw is [Client.Call] with the answer as it came.
func (c *Client) CallRaw(ctx context.Context, method string, params any) (json.RawMessage, error) {
	if ctx.Err() != nil {
		return nil, c.gaveUp(ctx)
	}
	var args any
	if params != nil {
		raw, err := encodeParams(method, params)
		if err != nil {
			return nil, err
		}
		args = json.RawMessage(raw)
	}
	id := jsonrpc2.ID{Num: c.seq.Add(1)}
	// A daemon that does not read would hold the write beyond ctx.
	stop := context.AfterFunc(ctx, func() { c.stream.nc.SetWriteDeadline(time.Now().Add(lastWord)) })
	defer stop()
	var result json.RawMessage
	w, err := c.rpc.DispatchCall(ctx, method, args, jsonrpc2.PickID(id))
	if err == nil {
		err = w.Wait(ctx, &result)
	}
	var answered *jsonrpc2.Error
	switch {
	case err == nil:
		return result, nil
	case errors.As(err, &answered):
		return nil, fromWire(answered)
	case ctx.Err() != nil:
		c.stream.nc.SetWriteDeadline(time.Now().Add(lastWord))
		c.rpc.Notify(context.Background(), NotifyCancel, map[string]uint64{"id": id.Num})
		c.Close()
		return nil, c.gaveUp(ctx)
	}
	return nil, c.stream.why()
}

func (c *Client) gaveUp(ctx context.Context) *Error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return Errorf(KindTimeout, "the daemon at %s did not answer in time", c.path).WithHint(seeLogs)
	}
	return Errorf(KindCancelled, "the call was cancelled")
}

// Close ends the connection. Calls that wait get an error of kind closed.
func (c *Client) Close() error {
	if err := c.rpc.Close(); err != nil && !errors.Is(err, jsonrpc2.ErrClosed) {
		return err
	}
	return nil
}

// Done is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.rpc.DisconnectNotify() }

type notifyHandler struct {
	f func(method string, params json.RawMessage)
}

func (h notifyHandler) Handle(_ context.Context, _ *jsonrpc2.Conn, req *jsonrpc2.Request) {
	if h.f == nil || !req.Notif {
		return
	}
	var params json.RawMessage
	if req.Params != nil {
		params = *req.Params
	}
	h.f(req.Method, params)
}
