package service

import (
	"bytes"
	_ "embed"
	"fmt"
	"path/filepath"
	"strings"
	"text/template"
	"unicode"
	"unicode/utf8"
)

var (
	//go:embed systemd.service.tmpl
	serviceTemplate string
	//go:embed systemd.socket.tmpl
	socketTemplate string

	unitTemplates = template.Must(template.Must(template.New(serviceUnit).Funcs(template.FuncMap{
		"program": unitProgram, "quote": unitQuote, "path": unitPath,
	}).Parse(serviceTemplate)).New(socketUnit).Parse(socketTemplate))
)

const (
	serviceUnit = "runtimed.service"
	socketUnit  = "runtimed.socket"
)

func units(dir string, c Config) ([]File, error) {
	words := []string{c.Program, c.Socket}
	for _, v := range c.Vars {
		words = append(words, v.Value)
	}
	for _, w := range words {
		if err := printableIn("a unit file", w); err != nil {
			return nil, err
		}
	}
	if strings.TrimSpace(c.Socket) != c.Socket || strings.HasSuffix(c.Socket, `\`) {
		return nil, &Problem{Message: fmt.Sprintf("the socket path %q cannot be written in a unit file", c.Socket),
			Hint: "set RUNTIMED_SOCKET to another"}
	}
	var files []File
	for _, name := range []string{serviceUnit, socketUnit} {
		var b bytes.Buffer
		if err := unitTemplates.ExecuteTemplate(&b, name, c); err != nil {
			return nil, err
		}
		files = append(files, File{Path: filepath.Join(dir, name), Data: b.Bytes(), Mode: 0o600})
	}
	return files, nil
}

// printableIn refuses what the file has no escape for.
func printableIn(file, s string) error {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return &Problem{Hint: "use another path",
			Message: fmt.Sprintf("%q cannot be written in %s: it has control characters, or is not UTF-8", s, file)}
	}
	return nil
}

// unitProgram is the command line of ExecStart=. systemd refuses a program whose path has a quote or a backslash,
// even escaped, and mistakes one with a $. As arguments it takes such words, with each $ doubled.
func unitProgram(path string) string {
	if strings.ContainsAny(path, `"'\$`) {
		return `/bin/sh -c 'exec "$$0" run' ` + unitQuote(strings.ReplaceAll(path, "$", "$$"))
	}
	return unitQuote(path) + " run"
}

// unitQuote is a word in which % begins a specifier and \ an escape.
func unitQuote(s string) string {
	return `"` + strings.NewReplacer(`%`, `%%`, `\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// unitPath is a path up to the end of a line, where only % is special.
func unitPath(s string) string { return strings.ReplaceAll(s, "%", "%%") }
