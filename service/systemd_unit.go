package service

import (
	_ "embed"
	"fmt"
	"path/filepath"
	"strings"
	"text/template"
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
	if strings.TrimSpace(c.Socket) != c.Socket || strings.HasSuffix(c.Socket, `\`) {
		return nil, &Problem{Message: fmt.Sprintf("the socket path %q cannot be written in a unit file", c.Socket),
			Hint: "set RUNTIMED_SOCKET to another"}
	}
	var files []File
	for _, name := range []string{serviceUnit, socketUnit} {
		text, err := c.render(unitTemplates.Lookup(name), "a unit file", c)
		if err != nil {
			return nil, err
		}
		files = append(files, File{Path: filepath.Join(dir, name), Data: text, Mode: 0o600})
	}
	return files, nil
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
