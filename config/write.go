package config

import (
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"runtimed/internal/redact"
	"runtimed/internal/safefile"
)

// Write prints what could be a configuration file again.
func (c *Config) Write(w io.Writer) {
	fmt.Fprintf(w, "# %s\n", redact.Printable(c.Place()))
	if c.System != "" {
		fmt.Fprintf(w, "# %s\n", c.System)
	}
	for _, warning := range c.Warnings {
		fmt.Fprintf(w, "# warning: %s\n", redact.Printable(warning))
	}
	section := ""
	for _, s := range c.Settings() {
		at := strings.LastIndex(s.Key, ".")
		if in := s.Key[:max(at, 0)]; in != section {
			section = in
			fmt.Fprintf(w, "[%s]\n", section)
		}
		line := redact.Printable(s.Key[at+1:] + " = " + Literal(s.Value)) // which TOML reads as the same
		origin := s.Origin
		if p := s.Chosen; p != nil {
			origin += redact.Printable(fmt.Sprintf("; %s (%s), chosen on first use", p.Version, p.Path))
		}
		if s.Place != "" {
			origin += redact.Printable("; " + s.Place)
		}
		if s.LimitedBy != "" {
			origin += "; limited at " + s.LimitedBy
		}
		fmt.Fprintf(w, "%-40s # %s\n", line, origin)
	}
}

// Literal is a value as TOML has it; JSON's strings, numbers and lists of strings are TOML's.
func Literal(v any) string {
	text, err := json.Marshal(v, jsontext.SpaceAfterComma(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return `""`
	}
	return string(text)
}

// Place is the path of the file, and whether it is there.
func (c *Config) Place() string {
	if safefile.Exists(c.Path) {
		return c.Path
	}
	return c.Path + " (not there, so the defaults hold)"
}
