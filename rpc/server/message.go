package server

import (
	"bytes"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"runtimed/rpc"
)

// request is one request or notification as it came.
type request struct {
	method string
	params []byte     // nil: none
	id     []byte     // byte for byte; nil: a notification
	err    *rpc.Error // what is wrong with it; then nothing of it but id counts
	reply  bool       // an answer to a question we never asked
}

var null = []byte("null")

// parse takes one message apart. list says that it is a batch. An error is about the message as a whole.
func parse(msg []byte) (requests []request, list bool, err *rpc.Error) {
	if tooDeep(msg) {
		return nil, false, rpc.Errorf(rpc.KindParseError, "the message is nested deeper than %d", rpc.MaxDepth)
	}
	value := jsontext.Value(bytes.Trim(msg, " \t\r\n"))
	if !utf8.Valid(value) || !value.IsValid(rpc.LooseJSON) {
		return nil, false, rpc.Errorf(rpc.KindParseError, "the message is not JSON").WithHint("a message is one JSON value in UTF-8, on one line or behind a Content-Length header")
	}
	if value.Kind() != '[' {
		return []request{parseOne(value)}, false, nil
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(value), rpc.LooseJSON)
	dec.ReadToken()
	for dec.PeekKind() != ']' {
		if len(requests) == rpc.MaxBatch {
			return nil, false, rpc.Errorf(rpc.KindInvalidRequest, "the batch has more than %d elements", rpc.MaxBatch)
		}
		element, _ := dec.ReadValue() // cannot fail, the whole is valid
		requests = append(requests, parseOne(element))
	}
	if len(requests) == 0 {
		return nil, false, rpc.Errorf(rpc.KindInvalidRequest, "the batch is empty")
	}
	return requests, true, nil
}

// parseOne reads the members that JSON-RPC defines. Others are ignored.
func parseOne(value jsontext.Value) (r request) {
	invalid := func(format string, args ...any) {
		if r.err == nil {
			r.err = rpc.Errorf(rpc.KindInvalidRequest, format, args...)
		}
	}
	if value.Kind() != '{' {
		return request{id: null, err: rpc.Errorf(rpc.KindInvalidRequest, "a request is an object")}
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(value), rpc.LooseJSON)
	dec.ReadToken()
	var version, method, answer bool
	seen := map[string]bool{}
	for dec.PeekKind() != '}' {
		tok, _ := dec.ReadToken()
		name := tok.String()
		val, _ := dec.ReadValue()
		switch name {
		case "jsonrpc":
			version = val.Kind() == '"' && textOf(val) == "2.0"
		case "method":
			if method = val.Kind() == '"'; !method {
				invalid("method must be a string")
			} else {
				r.method = textOf(val)
			}
		case "params":
			if k := val.Kind(); k != '{' && k != '[' && k != 'n' {
				invalid("params must be an object")
			}
			r.params = bytes.Clone(val)
		case "id":
			if k := val.Kind(); k != '"' && k != '0' && k != 'n' {
				invalid("id must be a string or a number")
				val = null
			}
			r.id = bytes.Clone(val)
		case "result", "error":
			answer = true
			continue
		default:
			continue
		}
		if seen[name] {
			invalid("member %s is given twice", name)
		}
		seen[name] = true
	}
	switch {
	case !seen["method"] && answer:
		return request{reply: true}
	case !version:
		invalid(`jsonrpc must be "2.0"`)
	case !seen["method"]:
		invalid("method is missing")
	}
	if r.err != nil && r.id == nil {
		r.id = null // it cannot be told for a notification, so it is answered
	}
	return r
}

// textOf is what a string says. The whole message is grammatical, so an error is about half of a surrogate pair, which is U+FFFD here.
func textOf(val jsontext.Value) string {
	text, _ := jsontext.AppendUnquote(nil, val)
	return string(text)
}

// tooDeep counts brackets outside strings, before anything walks them. What is no JSON may be counted wrong; it is refused anyway.
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
