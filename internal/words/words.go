// Package words has kong take the words of a command line as they are.
package words

import (
	"fmt"
	"reflect"

	"github.com/alecthomas/kong"
)

// Verbatim passes texts on byte for byte. kong's own mapper sends them through JSON, which turns what is not UTF-8
// into U+FFFD: the name of another file.
var Verbatim = kong.KindMapper(reflect.String,
	kong.MapperFunc(func(ctx *kong.DecodeContext, target reflect.Value) error {
		word, err := ctx.Scan.PopValue("string")
		if err != nil {
			return err
		}
		text, ok := word.Value.(string)
		if !ok {
			return fmt.Errorf("expected a text, got %v", word.Value)
		}
		target.SetString(text)
		return nil
	}))
