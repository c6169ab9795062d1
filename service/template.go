package service

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
	"text/template"
	"unicode"
	"unicode/utf8"
)

// render fills in the template of a file, after it has refused what the file has no escape for.
func (c Config) render(t *template.Template, file string, data any) ([]byte, error) {
	words := []string{c.Program, c.Socket, c.Log}
	for _, v := range c.Vars {
		words = append(words, v.Value)
	}
	for _, s := range words {
		if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
			return nil, &Problem{Hint: "use another path",
				Message: fmt.Sprintf("%q cannot be written in %s: it has control characters, or is not UTF-8", s, file)}
		}
	}
	var b bytes.Buffer
	err := t.Execute(&b, data)
	return b.Bytes(), err
}

func xmlText(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes all
	return b.String()
}
