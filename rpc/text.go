package rpc

import (
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// LooseText reads half of a surrogate pair ("\ud83d") as U+FFFD, as RFC 8259 allows. It also accepts bytes that
// are not UTF-8, so check for those first.
var LooseText = jsontext.AllowInvalidUTF8(true)

// LooseJSON accepts all that RFC 8259 allows, duplicate names included.
var LooseJSON = jsonv2.JoinOptions(LooseText, jsontext.AllowDuplicateNames(true))

// Member names what p points to as callers know it: inner members follow a dot.
func Member(p jsontext.Pointer) string {
	var names []string
	for name := range p.Tokens() {
		names = append(names, name)
	}
	return strings.Join(names, ".")
}
