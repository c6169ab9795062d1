// Package lazyregexp has regular expressions that are compiled when they are first used. Compiling all of a program's
// at its start takes longer than what runt does in most runs.
package lazyregexp

import (
	"regexp"
	"sync"
)

// New returns a function for the compiled expression. The function panics if it cannot be compiled.
func New(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}
