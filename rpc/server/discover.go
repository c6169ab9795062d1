package server

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"runtimed/rpc"
)

type schema map[string]any

// discover makes rpc.discover for methods and itself: a document as spec.open-rpc.org has it.
func discover(methods []Method) Method {
	var text json.RawMessage // encoded once, so that calls cost nothing
	self := NewMethod(rpc.MethodDiscover, func(context.Context, rpc.None) (json.RawMessage, error) { return text, nil })
	shared := map[string]schema{}
	var all []schema
	for _, m := range append(methods[:len(methods):len(methods)], self) {
		params := []schema{}
		for _, f := range members(m.params) {
			param := schema{"name": f.name, "schema": schemaOf(f.typ, shared)}
			if !f.optional {
				param["required"] = true
			}
			params = append(params, param)
		}
		result := schema{"type": "object"} // of rpc.discover itself
		if m.Name != rpc.MethodDiscover {
			result = schemaOf(m.result, shared)
		}
		all = append(all, schema{
			"name": m.Name, "summary": rpc.MethodOf(m.Name).Summary, "paramStructure": "by-name",
			"params": params, "result": schema{"name": "result", "schema": result},
		})
	}
	var err error
	if text, err = encode(schema{
		"openrpc": "1.3.2", "info": schema{"title": rpc.Name, "version": rpc.Version()},
		"methods": all, "components": schema{"schemas": shared},
	}); err != nil {
		panic(err)
	}
	return self
}

func schemaOf(t reflect.Type, shared map[string]schema) schema {
	switch t {
	case reflect.TypeFor[time.Time]():
		return schema{"type": "string", "format": "date-time"}
	case reflect.TypeFor[json.RawMessage]():
		return schema{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem(), shared)
	case reflect.String:
		return schema{"type": "string"}
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.Float64:
		return schema{"type": "number"}
	case reflect.Slice:
		return schema{"type": "array", "items": schemaOf(t.Elem(), shared)}
	case reflect.Map:
		return schema{"type": "object", "additionalProperties": orNull(t.Elem(), schemaOf(t.Elem(), shared))}
	case reflect.Struct:
		if _, done := shared[t.Name()]; !done {
			shared[t.Name()] = schema{} // for a type that holds itself
			props, required := schema{}, []string{}
			for _, f := range members(t) {
				props[f.name] = schemaOf(f.typ, shared)
				if !f.optional {
					required = append(required, f.name)
					props[f.name] = orNull(f.typ, props[f.name].(schema))
				}
			}
			shared[t.Name()] = schema{"type": "object", "properties": props, "required": required}
		}
		ref := schema{"$ref": "#/components/schemas/" + t.Name()}
		if t == reflect.TypeFor[rpc.ProjectParams]() {
			return schema{"oneOf": []schema{{"type": "string"}, ref}}
		}
		return ref
	}
	return schema{"type": "integer"}
}

// orNull is for a pointer without omitempty: nil is null.
func orNull(t reflect.Type, s schema) schema {
	if t.Kind() == reflect.Pointer {
		return schema{"oneOf": []schema{s, {"type": "null"}}}
	}
	return s
}

type member struct {
	name     string
	typ      reflect.Type
	optional bool
}

func members(t reflect.Type) []member {
	var out []member
	for f := range t.Fields() {
		if f.Anonymous {
			out = append(out, members(f.Type)...)
			continue
		}
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		out = append(out, member{name, f.Type, strings.Contains(opts, "omit")})
	}
	return out
}
