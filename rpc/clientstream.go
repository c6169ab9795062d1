package rpc

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"sync"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/sourcegraph/jsonrpc2"
)

// maxAnswer bounds one answer, so that a stranger on the path cannot fill our memory.
const maxAnswer = 256 << 20

type clientStream struct {
	nc   net.Conn
	path string
	r    *bufio.Reader

	mu  sync.Mutex
	end *Error
}

func newClientStream(nc net.Conn, path string) *clientStream {
	return &clientStream{nc: nc, path: path, r: bufio.NewReader(nc)}
}

func (s *clientStream) WriteObject(obj any) error {
	data, err := json.Marshal(obj)
	if err != nil {
		return err
	}
	_, err = s.nc.Write(append(data, '\n'))
	return err
}

func (s *clientStream) ReadObject(v any) error {
	line, err := s.line()
	if err != nil {
		return s.ended(err)
	}
	var m struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Method  *string         `json:"method"`
		Result  json.RawMessage `json:"result"`
		Error   *jsonrpc2.Error `json:"error"`
	}
	err = jsonv2.Unmarshal(line, &m, LooseJSON)
	empty := m.Method == nil && m.Result == nil && m.Error == nil
	if err != nil || !utf8.Valid(line) || m.Version != "2.0" || empty {
		return s.ended(notUnderstood(s.path, "it does not speak JSON-RPC 2.0"))
	}
	if m.Error != nil && (m.ID == nil || string(m.ID) == "null") {
		return s.ended(fromWire(m.Error)) // belongs to no call, so it ends them all
	}
	if err := v.(json.Unmarshaler).UnmarshalJSON(line); err != nil {
		return s.ended(notUnderstood(s.path, "it does not speak JSON-RPC 2.0 as we do"))
	}
	return nil
}

func (s *clientStream) line() ([]byte, error) {
	var line []byte
	for {
		part, err := s.r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxAnswer:
			return nil, notUnderstood(s.path, "its answer is too long")
		case err == nil || errors.Is(err, io.EOF) && len(bytes.TrimSpace(line)) > 0:
			if line = bytes.TrimSpace(line); len(line) > 0 {
				return line, nil
			}
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, Errorf(KindClosed, "%s closed the connection without an answer", s.path).
				WithHint("it may be stopping, or be another program: try again, or set %s to another path", envSocket)
		}
	}
}

func (s *clientStream) ended(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end == nil {
		errors.As(err, &s.end)
	}
	return err
}

func (s *clientStream) why() *Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end == nil {
		return Errorf(KindClosed, "the connection to %s is closed", s.path)
	}
	return s.end
}

func (s *clientStream) Close() error { return s.nc.Close() }

func notUnderstood(path, what string) *Error {
	return Errorf(KindProtocol, "the program at %s is not understood: %s", path, what).
		WithHint("another program may listen there; set %s for both the daemon and its clients", envSocket)
}

// fromWire is the daemon's error. An error without our data comes from a stranger, and gets the kind of its code.
func fromWire(e *jsonrpc2.Error) *Error {
	out := &Error{Code: int(e.Code), Message: e.Message}
	if e.Data != nil {
		_ = jsonv2.Unmarshal(*e.Data, &out.Data, LooseText)
	}
	if out.Data.Kind == "" {
		out.Data.Kind = KindInternal
		for kind, code := range Codes {
			if code == out.Code {
				out.Data.Kind = kind
			}
		}
	}
	return out
}
