package redact

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"runtimed/internal/lazyregexp"
)

type level struct {
	object bool
	secret bool   // all of it is
	name   string // of the next value
	named  bool   // a member names the value: {"name": "TOKEN", "value": "…"}
	next   bool   // the next element of the list is a secret: ["--password", "…"]
}

var naming = lazyregexp.New(`(?i)^(?:name|key|variable|header)$`)

// JSON redacts each string of a JSON value, so that escapes hide nothing. It masks everything under the name of a
// secret. It returns false if raw is not JSON.
func (r *Redactor) JSON(raw []byte, indent bool) ([]byte, bool) {
	var out bytes.Buffer
	dec := jsontext.NewDecoder(bytes.NewReader(raw), jsontext.AllowDuplicateNames(true),
		jsontext.AllowInvalidUTF8(true))
	enc := jsontext.NewEncoder(&out, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true),
		jsontext.Multiline(indent))
	levels := []level{{}}
	for {
		tok, err := dec.ReadToken()
		if err != nil {
			return bytes.TrimSuffix(out.Bytes(), []byte("\n")), out.Len() > 0 && errors.Is(err, io.EOF)
		}
		at := &levels[len(levels)-1]
		kind, n := dec.StackIndex(dec.StackDepth())
		isName := kind == '{' && n%2 == 1 && tok.Kind() == '"'
		secret := at.secret || at.next || at.object &&
			(IsSecret(at.name) || at.named && strings.EqualFold(at.name, "value"))
		switch tok.Kind() {
		case '{', '[':
			at.next = false
			levels = append(levels, level{object: tok.Kind() == '{', secret: secret})
		case '}', ']':
			levels = levels[:len(levels)-1]
		case '"':
			s := tok.String()
			if isName {
				at.name = s
				tok = jsontext.String(r.Text(s))
				break
			}
			if secret && s != "" {
				tok = jsontext.String(Mask)
			} else {
				tok = jsontext.String(r.Text(s))
			}
			at.next = !at.object && secretFlag().MatchString(s)
			at.named = at.named || at.object && naming().MatchString(at.name) && IsSecret(s)
		case '0':
			at.next = false
			if secret {
				tok = jsontext.String(Mask)
			}
		}
		if enc.WriteToken(tok) != nil {
			return nil, false
		}
	}
}

// Lines redacts the lines of a log, as JSON if they are.
func (r *Redactor) Lines(lines [][]byte) string {
	var b strings.Builder
	for _, line := range lines {
		if clean, ok := r.JSON(line, false); ok && json.Valid(line) {
			b.Write(clean)
		} else {
			b.WriteString(r.Text(string(line)))
		}
		b.WriteByte('\n')
	}
	return b.String()
}
