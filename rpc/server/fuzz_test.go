//go:build unix

package server

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"runtimed/rpc"
)

// exchange sends all of in over one connection and returns what is answered until the end.
func exchange(t *testing.T, s *Server, in []byte) []byte {
	client, server := socketPair(t)
	defer client.Close()
	done := make(chan bool)
	go func() { s.serve(s.enter(server, rpc.Peer{})); close(done) }()
	go func() { client.Write(in); client.CloseWrite() }()
	client.SetReadDeadline(time.Now().Add(5 * time.Second))
	out, err := io.ReadAll(client)
	if err != nil {
		t.Fatalf("after %q: %v", out, err)
	}
	client.Close()
	<-done
	return out
}

func fuzzServer() *Server {
	s := New(offTable(), zap.NewNop())
	s.drainTime = 50 * time.Millisecond
	return s
}

// Whatever comes in, the connection ends, and what goes out is well-formed replies in one framing.
func FuzzStream(f *testing.F) {
	for _, seed := range []string{
		"", "\n", "{}\n", "[]\n", "[1,2", req("1", rpc.MethodPing), "\xef\xbb\xbf" + req("1", rpc.MethodPing),
		"\xef\xbb",
		req("1.50", rpc.MethodStatus) + "\n" + req("null", rpc.MethodDiscover) + "\r\n",
		"[" + req("1", rpc.MethodPing) + "," + cancelled("1") + ",3]\n", "Content-Length: 2\r\n\r\n{}",
		"content-length: 0\r\n\r\n",
		"C", "Content-Length: 99999999\r\n\r\n", "\x00\x01\x02", strings.Repeat("[", 2000),
		`{"jsonrpc":"2.0","id":"\ud800","method":"x"}`,
	} {
		f.Add([]byte(seed))
	}
	s := fuzzServer()
	f.Fuzz(func(t *testing.T, in []byte) {
		out := exchange(t, s, in)
		fr := newFramer(bytes.NewReader(out))
		for {
			msg, err := fr.next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%q is answered by %q: %v", in, out, err)
			}
			for _, reply := range listOf(t, msg) {
				var m struct {
					Version string           `json:"jsonrpc"`
					ID      *json.RawMessage `json:"id"`
					Result  json.RawMessage  `json:"result"`
					Error   *rpc.Error       `json:"error"`
				}
				if err := json.Unmarshal(reply, &m); err != nil || m.Version != "2.0" ||
					(m.Result == nil) == (m.Error == nil) {
					t.Fatalf("%q is answered by %q: %v", in, out, err)
				}
				if m.Error != nil &&
					(rpc.Codes[m.Error.Data.Kind] != m.Error.Code || m.Error.Data.Kind == rpc.KindInternal ||
						m.Error.Message == "") {
					t.Fatalf("%q is answered by %q", in, out)
				}
			}
		}
		if len(out) > 0 && fr.headers != wantsHeaders(in) {
			t.Fatalf("%q is answered in the other framing: %q", in, out)
		}
	})
}

func wantsHeaders(in []byte) bool {
	in = bytes.TrimLeft(bytes.TrimPrefix(in, []byte("\xef\xbb\xbf")), " \t\r\n")
	return len(in) > 0 && (in[0] == 'C' || in[0] == 'c')
}

func listOf(t *testing.T, msg []byte) []json.RawMessage {
	if msg[0] != '[' {
		return []json.RawMessage{msg}
	}
	var list []json.RawMessage
	if err := json.Unmarshal(msg, &list); err != nil || len(list) == 0 {
		t.Fatalf("a batch is answered by %q", msg)
	}
	return list
}

// Every request of every method with any params is answered once, with its id byte for byte, and never by a fault of
// ours.
func FuzzDispatch(f *testing.F) {
	for _, m := range offTable() {
		f.Add("1", m.Name, "{}")
		f.Add(`"a"`, m.Name,
			`{"pool":"uv","env":"uv-1","owner_pid":1,"level":"info","state":"ready","dry_run":true,"wait_ms":1,`+
				`"key":"k","client":{"name":"n","version":"v"}}`)
	}
	f.Add("9007199254740993", rpc.MethodAcquire, `{"wait_ms":1e3,"label":"\u0000"}`)
	f.Add("null", rpc.MethodEnvList, "null")
	f.Add("-0.0", rpc.MethodAdopt, `{"env":null,"owner_pid":99999999999999999999}`)
	s := fuzzServer()
	f.Fuzz(func(t *testing.T, id, method, params string) {
		name, _ := json.Marshal(method)
		msg := `{"jsonrpc":"2.0","id":` + id + `,"method":` + string(name) + `,"params":` + params + `}`
		var p map[string]json.RawMessage
		if strings.ContainsAny(id+params, "\n") || json.Unmarshal([]byte(msg), &p) != nil || string(p["id"]) != id ||
			len(p) != 4 || len(msg) > rpc.MaxMessage {
			t.Skip() // FuzzStream's part
		}
		requests, list := parse([]byte(msg))
		if list || requests[0].err != nil {
			t.Skip()
		}
		out := exchange(t, s, []byte(msg))
		if !bytes.HasPrefix(out, []byte(`{"jsonrpc":"2.0","id":`+id+",")) || bytes.Count(out, []byte("\n")) != 1 {
			t.Fatalf("%s is answered by %q", msg, out)
		}
		var m struct{ Error *rpc.Error }
		if err := json.Unmarshal(out, &m); err != nil || m.Error != nil && m.Error.Data.Kind == rpc.KindInternal {
			t.Fatalf("%s is answered by %q", msg, out)
		}
	})
}

// However the bytes are cut into reads, the messages are the same, and so is the end.
func FuzzFraming(f *testing.F) {
	for _, seed := range []string{
		"{}\n[]\n", "\xef\xbb\xbf{}\r\n\r\n{}", "Content-Length: 2\r\n\r\n{}Content-Length: 0\r\n\r\n",
		"content-length:2\r\nContent-Type: x\r\n\r\n[]",
		"Content-Length: -1\r\n\r\n", "C", " \t\n", "\xef\xbb", "x\x00y\n",
	} {
		f.Add([]byte(seed), uint8(1))
		f.Add([]byte(seed), uint8(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		whole, wholeEnd := frames(bytes.NewReader(in))
		pieces, piecesEnd := frames(&pieceReader{in, int(size)%7 + 1})
		if len(whole) != len(pieces) || wholeEnd != piecesEnd {
			t.Fatalf("%q: in one piece %q and %s, in many %q and %s", in, whole, wholeEnd, pieces, piecesEnd)
		}
		for i := range whole {
			if whole[i] != pieces[i] {
				t.Fatalf("%q: message %d is %q in one piece, and %q in many", in, i, whole[i], pieces[i])
			}
		}
	})
}

func frames(r io.Reader) (messages []string, end string) {
	fr := newFramer(r)
	for {
		msg, err := fr.next()
		if err != nil {
			return messages, err.Error()
		}
		messages = append(messages, string(msg))
	}
}

// pieceReader gives at most size bytes at a time.
type pieceReader struct {
	rest []byte
	size int
}

func (r *pieceReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.size)], r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
