package server

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"runtimed/rpc"
)

// Every message means the same in both framings, however its bytes arrive.
func TestBothFramingsSayTheSame(t *testing.T) {
	b := start(t)
	for _, msg := range []string{
		req("1", rpc.MethodPing), req(`"\u0041"`, "echo"), req("null", "no.such"),
		`{"jsonrpc":"2.0","id":2,"method":"echo","params":{"nope":1}}`,
		"[" + req("1", rpc.MethodPing) + ",7]", "[]", "{}", "nonsense", strings.Repeat("[", rpc.MaxDepth+1),
		`{"jsonrpc":"2.0","method":"daemon.ping"}`, `{"jsonrpc":"2.0","id":1,"result":{}}`,
		`{"jsonrpc":"2.0","id":3,"method":"echo","params":{"size":100000}}`,
	} {
		var answers []string
		for _, in := range []string{
			msg + "\n", "\xef\xbb\xbf\n " + msg + "\r\n", msg,
			fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(msg), msg),
		} {
			for _, size := range []int{len(in), 7} {
				w := b.dial(t)
				for part := range slices.Chunk([]byte(in), size) {
					w.send(string(part))
				}
				w.closeWrite()
				out := w.rest()
				if head, body, ok := strings.Cut(out, "\r\n\r\n"); ok {
					if head != fmt.Sprintf("Content-Length: %d", len(body)) {
						t.Errorf("header %q of %d bytes", head, len(body))
					}
					out = body
				}
				answers = append(answers, strings.TrimSuffix(out, "\n"))
			}
		}
		if all := slices.Compact(answers); len(all) != 1 &&
			!strings.HasPrefix(msg, "["+req("1", rpc.MethodPing)) { // a batch may be answered in any order
			t.Errorf("%.100s is answered %.500q", msg, all)
		}
	}
}

func TestTheLimitsOfTheFramerAreExact(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for name, c := range map[string]struct {
		in   string
		want []int // lengths of messages; -1: an *Error, and the end
	}{
		"a line of the most":              {x(rpc.MaxMessage) + "\n" + x(5), []int{rpc.MaxMessage, 5}},
		"a line of the most, with return": {x(rpc.MaxMessage) + "\r\n", []int{rpc.MaxMessage}},
		"a line of one more":              {x(rpc.MaxMessage+1) + "\n", []int{-1}},
		"a last line of one more":         {x(rpc.MaxMessage + 1), []int{-1}},
		"a body of the most": {
			fmt.Sprintf("C:\r\nContent-Length:%d\n\n%s", rpc.MaxMessage, x(rpc.MaxMessage)), []int{rpc.MaxMessage}},
		"a body of one more": {fmt.Sprintf("Content-Length: %d\n\n", rpc.MaxMessage+1), []int{-1}},
		"a header block of the most": {"Content-Length: 1\nX:" + x(rpc.MaxHeader-22) + "\n\nyContent-Length: 0\n\n",
			[]int{1, 0}},
		"a header block of one more": {"Content-Length: 1\nX:" + x(rpc.MaxHeader-21) + "\n\ny", []int{-1}},
	} {
		for _, r := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in)),
			iotest.DataErrReader(strings.NewReader(c.in))} {
			var got []int
			f := newFramer(r)
			for {
				msg, err := f.next()
				var fatal *rpc.Error
				if errors.As(err, &fatal) {
					got = append(got, -1)
				} else if err == nil {
					got = append(got, len(msg))
					continue
				} else if err != io.EOF {
					t.Error(err)
				}
				break
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: got %v, want %v", name, got, c.want)
			}
		}
	}
}
