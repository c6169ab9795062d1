package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"runtimed/rpc"
)

// Method is a named function. [NewMethod] makes one.
type Method struct {
	Name string

	params, result reflect.Type
	call           func(ctx context.Context, params []byte) (result []byte, err error)
}

// NewMethod makes a method of f. Params are decoded strictly into P: unknown members, wrong types and members
// given twice are errors that name the member. A Validate method of P runs before f. In the result, nil slices are
// [] and nil maps {}. If f returns an [rpc.Error], the caller gets it as it is.
func NewMethod[P, R any](name string, f func(context.Context, P) (R, error)) Method {
	return Method{
		Name: name, params: reflect.TypeFor[P](), result: reflect.TypeFor[R](),
		call: func(ctx context.Context, raw []byte) ([]byte, error) {
			var p P
			if err := decodeParams(raw, &p); err != nil {
				return nil, err
			}
			if v, ok := any(&p).(interface{ Validate() *rpc.Error }); ok {
				if err := v.Validate(); err != nil {
					return nil, err
				}
			}
			r, err := f(ctx, p)
			if err != nil {
				return nil, err
			}
			if encoded, ok := any(r).(json.RawMessage); ok {
				return encoded, nil
			}
			return encode(r)
		},
	}
}

// encode writes no null lists or maps, maps in order, raw values byte for byte, and U+FFFD for what is not UTF-8.
func encode(v any) ([]byte, error) {
	return jsonv2.Marshal(v, jsonv2.Deterministic(true), jsontext.PreserveRawStrings(true), rpc.LooseText)
}

func decodeParams(raw []byte, p any) error {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	if raw[0] == '[' {
		return rpc.Errorf(rpc.KindInvalidParams, "params are a list, but members are given by name here")
	}
	err := jsonv2.Unmarshal(raw, p, jsonv2.RejectUnknownMembers(true), rpc.LooseText)
	if err == nil {
		return checkNames(raw, p)
	}
	var member string
	semantic, is := errors.AsType[*jsonv2.SemanticError](err)
	if is {
		member = rpc.Member(semantic.JSONPointer)
	} else if syntax, is := errors.AsType[*jsontext.SyntacticError](err); is {
		member = rpc.Member(syntax.JSONPointer)
	}
	switch {
	case errors.Is(err, jsonv2.ErrUnknownName):
		bad := rpc.BadParam(member, "unknown member %.60s", member)
		var names []string
		for _, m := range members(holderOf(reflect.TypeOf(p).Elem(), semantic.JSONPointer)) {
			names = append(names, m.name)
		}
		if len(names) == 0 {
			return bad.WithHint("this method takes none")
		}
		return bad.WithHint("members are %s", strings.Join(names, ", "))
	case errors.Is(err, jsontext.ErrDuplicateName):
		return rpc.BadParam(member, "member %.60s is given twice", member)
	case semantic != nil && semantic.GoType != nil:
		return rpc.BadParam(member, "%.60s must be %s", member, kindName(semantic.GoType))
	}
	return rpc.BadParam(member, "params cannot be read: %v", err)
}

// checkNames refuses half of a surrogate pair in members that are compared: as U+FFFD, different names would be
// the same.
func checkNames(raw jsontext.Value, p any) error {
	named, ok := p.(interface{ Names() []string })
	if !ok || raw.IsValid() {
		return nil
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw), rpc.LooseText)
	dec.ReadToken()
	for dec.PeekKind() != '}' {
		name, _ := dec.ReadToken()
		member := name.String()
		val, _ := dec.ReadValue()
		if slices.Contains(named.Names(), member) && !val.IsValid() {
			return rpc.BadParam(member, "%s holds half of a surrogate pair, which is not a character", member)
		}
	}
	return nil
}

// holderOf is the type of the object that holds the member at p, below t.
func holderOf(t reflect.Type, p jsontext.Pointer) reflect.Type {
	for name := range p.Parent().Tokens() {
		at := slices.IndexFunc(members(t), func(m member) bool { return m.name == name })
		if at < 0 {
			break
		}
		next := members(t)[at].typ
		if next.Kind() == reflect.Pointer {
			next = next.Elem()
		}
		if next.Kind() != reflect.Struct {
			break
		}
		t = next
	}
	return t
}

func kindName(t reflect.Type) string {
	s := schemaOf(t, map[string]schema{})
	if s["oneOf"] != nil {
		return "a string or an object"
	}
	switch s["type"] {
	case "string":
		return "a string"
	case "boolean":
		return "true or false"
	case "integer":
		return "a whole number"
	case "array":
		return "a list"
	}
	return "an object"
}
