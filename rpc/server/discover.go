package server

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"runtimed/rpc"
)

// openRPC is the document of rpc.discover (spec.open-rpc.org).
type openRPC struct {
	OpenRPC string `json:"openrpc"`
	Info    struct {
		Title   string `json:"title"`
		Version string `json:"version"`
	} `json:"info"`
	Methods    []openMethod `json:"methods"`
	Components struct {
		Schemas map[string]schema `json:"schemas"`
	} `json:"components"`
}

type openMethod struct {
	Name           string      `json:"name"`
	Summary        string      `json:"summary"`
	ParamStructure string      `json:"paramStructure"`
	Params         []openValue `json:"params"`
	Result         openValue   `json:"result"`
}

type openValue struct {
	Name     string `json:"name"`
	Required bool   `json:"required,omitzero"`
	Schema   schema `json:"schema"`
}

// schema is a JSON Schema.
type schema map[string]any

// discover makes rpc.discover for methods and itself.
func discover(methods []Method, version string) Method {
	var doc openRPC
	var text json.RawMessage // encoded once, so that calls cost nothing
	self := NewMethod(rpc.MethodDiscover,
		func(context.Context, rpc.None) (json.RawMessage, error) { return text, nil })
	doc.OpenRPC = "1.3.2"
	doc.Info.Title = rpc.Name
	doc.Info.Version = version
	doc.Components.Schemas = map[string]schema{}
	for _, m := range append(methods[:len(methods):len(methods)], self) {
		om := openMethod{Name: m.Name, Summary: rpc.MethodOf(m.Name).Summary, ParamStructure: "by-name",
			Params: []openValue{}}
		for _, f := range members(m.params) {
			om.Params = append(om.Params, openValue{f.name, !f.optional, schemaOf(f.typ, doc.Components.Schemas)})
		}
		om.Result = openValue{Name: "result", Schema: schema{"type": "object"}} // of rpc.discover itself
		if m.Name != rpc.MethodDiscover {
			om.Result.Schema = schemaOf(m.result, doc.Components.Schemas)
		}
		doc.Methods = append(doc.Methods, om)
	}
	var err error
	if text, err = encode(doc); err != nil {
		panic(err) // a type of the contract cannot be described
	}
	return self
}

// schemaOf describes a type as it is encoded. Named structs go to shared.
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
		return schema{"$ref": "#/components/schemas/" + t.Name()}
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

// members are the fields of a struct in JSON, including those of embedded structs.
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
