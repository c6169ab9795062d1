package server

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"runtimed/rpc"
)

type request struct {
	method string
	params []byte     // nil: none
	id     []byte     // byte for byte; nil: a notification
	err    *rpc.Error // what is wrong with it; then only id counts
	reply  bool       // an answer, which nobody asked for
}

var null = []byte("null")

// faulty stands for a message that holds no request.
func faulty(err *rpc.Error) []request { return []request{{id: null, err: err}} }

// parse splits a message into requests. list says that it is a batch.
func parse(msg []byte) (requests []request, list bool) {
	if tooDeep(msg) {
		return faulty(rpc.Errorf(rpc.KindParseError, "the message is nested deeper than %d", rpc.MaxDepth)), false
	}
	value := jsontext.Value(bytes.Trim(msg, " \t\r\n"))
	if !utf8.Valid(value) || !value.IsValid(rpc.LooseJSON) {
		return faulty(rpc.Errorf(rpc.KindParseError, "the message is not JSON").
			WithHint("a message is one JSON value in UTF-8, on one line or behind a Content-Length header")), false
	}
	if value.Kind() != '[' {
		return []request{parseOne(value)}, false
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(value), rpc.LooseJSON)
	dec.ReadToken()
	for dec.PeekKind() != ']' {
		if len(requests) == rpc.MaxBatch {
			err := rpc.Errorf(rpc.KindInvalidRequest, "the batch has more than %d elements", rpc.MaxBatch)
			return faulty(err), false
		}
		element, _ := dec.ReadValue()
		requests = append(requests, parseOne(element))
	}
	if len(requests) == 0 {
		return faulty(rpc.Errorf(rpc.KindInvalidRequest, "the batch is empty")), false
	}
	return requests, true
}

const anyKind = `"0{[ntf`

// requestMembers are the members of a request, and of an answer, with the kinds of JSON that they must be.
var requestMembers = map[string]struct{ kinds, be string }{
	"jsonrpc": {`"`, `"2.0"`}, "method": {`"`, "a string"}, "params": {"{[n", "an object"},
	"id": {`"0n`, "a string or a number"}, "result": {kinds: anyKind}, "error": {kinds: anyKind},
}

func parseOne(value jsontext.Value) (r request) {
	invalid := func(format string, args ...any) {
		if r.err == nil {
			r.err = rpc.Errorf(rpc.KindInvalidRequest, format, args...)
		}
	}
	if value.Kind() != '{' {
		return faulty(rpc.Errorf(rpc.KindInvalidRequest, "a request is an object"))[0]
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(value), rpc.LooseJSON)
	dec.ReadToken()
	given := map[string]jsontext.Value{}
	for dec.PeekKind() != '}' {
		tok, _ := dec.ReadToken()
		name := tok.String()
		val, _ := dec.ReadValue()
		must, known := requestMembers[name]
		switch {
		case !known:
			continue
		case !strings.ContainsRune(must.kinds, rune(val.Kind())):
			invalid("%s must be %s", name, must.be)
			val = null
		case given[name] != nil:
			invalid("member %s is given twice", name)
		}
		given[name] = bytes.Clone(val)
	}
	method := given["method"]
	r.method, r.params, r.id = textOf(method), given["params"], given["id"]
	switch {
	case method == nil && (given["result"] != nil || given["error"] != nil):
		return request{reply: true}
	case textOf(given["jsonrpc"]) != "2.0":
		invalid(`jsonrpc must be "2.0"`)
	case method == nil:
		invalid("method is missing")
	}
	if r.err != nil && r.id == nil {
		r.id = null // it cannot be taken for a notification, so it is answered
	}
	return r
}

// textOf reads half of a surrogate pair, its only possible error, as U+FFFD.
func textOf(val jsontext.Value) string {
	text, _ := jsontext.AppendUnquote(nil, val)
	return string(text)
}

// tooDeep counts brackets before anything walks them. It may count invalid JSON wrong, which is refused anyway.
func tooDeep(msg []byte) bool {
	depth, inString := 0, false
	for i := 0; i < len(msg); i++ {
		switch b := msg[i]; {
		case inString && b == '\\':
			i++
		case b == '"':
			inString = !inString
		case inString:
		case b == '[' || b == '{':
			if depth++; depth > rpc.MaxDepth {
				return true
			}
		case b == ']' || b == '}':
			depth--
		}
	}
	return false
}
