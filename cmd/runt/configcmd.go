package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"runtimed/config"
	"runtimed/internal/failure"
	"runtimed/internal/redact"
	"runtimed/internal/safefile"
)

type configCmd struct {
	Show  configShowCmd  `cmd:"" help:"Print every value in force and where it comes from."`
	Check configCheckCmd `cmd:"" help:"Check the file and the environment."`
	Path  configPathCmd  `cmd:"" help:"Print the path of the file."`
}

// The flag is the daemon's; the file is read here, whether a daemon runs or not.
type configFile struct {
	Config string `placeholder:"FILE" type:"path" help:"Look at this file instead."`
}

func (f configFile) flags() config.Flags { return config.Flags{Config: f.Config} }

type configShowCmd struct {
	configFile `embed:""`
}

func (c *configShowCmd) Run(a *app) error {
	cfg, err := config.Load(c.flags(), a.Env)
	if err != nil {
		return err
	}
	if a.json {
		return json.NewEncoder(a.stdout).Encode(struct {
			Path     string           `json:"path"`
			Exists   bool             `json:"exists"`
			Settings []config.Setting `json:"settings"`
		}{cfg.Path, safefile.Exists(cfg.Path), cfg.Settings()})
	}
	writeConfig(a.stdout, cfg)
	return nil
}

// writeConfig prints what could be a configuration file again.
func writeConfig(w io.Writer, cfg *config.Config) {
	fmt.Fprintf(w, "# %s\n", redact.Printable(fileNote(cfg.Path)))
	section := ""
	for _, s := range cfg.Settings() {
		at := strings.LastIndex(s.Key, ".")
		if in := s.Key[:max(at, 0)]; in != section {
			section = in
			fmt.Fprintf(w, "[%s]\n", section)
		}
		line := redact.Printable(s.Key[at+1:] + " = " + literal(s.Value)) // which TOML reads as the same
		fmt.Fprintf(w, "%-40s # %s\n", line, s.Origin)
	}
}

// literal is a value as TOML has it; JSON's strings, numbers and lists of strings are TOML's.
func literal(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if list, ok := v.([]string); ok {
		texts := make([]string, len(list))
		for i := range list {
			texts[i] = literal(list[i])
		}
		return "[" + strings.Join(texts, ", ") + "]"
	}
	if err := enc.Encode(v); err != nil {
		return `""`
	}
	return strings.TrimSpace(b.String())
}

func fileNote(path string) string {
	if safefile.Exists(path) {
		return path
	}
	return path + " (not there, so the defaults hold)"
}

type configCheckCmd struct {
	configFile `embed:""`
}

func (c *configCheckCmd) Run(a *app) error {
	cfg, err := config.Load(c.flags(), a.Env)
	if err != nil {
		return &failure.Error{Code: failure.Failed, Message: err.Error()}
	}
	if a.json {
		return encodePath(a, cfg.Path)
	}
	fmt.Fprintln(a.stdout, "ok:", fileNote(cfg.Path))
	return nil
}

type configPathCmd struct {
	configFile `embed:""`
}

func (c *configPathCmd) Run(a *app) error {
	path, err := config.FilePath(c.flags(), a.Env)
	if err != nil {
		return err
	}
	if a.json {
		return encodePath(a, path)
	}
	fmt.Fprintln(a.stdout, path)
	return nil
}

func encodePath(a *app, path string) error {
	return json.NewEncoder(a.stdout).Encode(struct {
		Path   string `json:"path"`
		Exists bool   `json:"exists"`
	}{path, safefile.Exists(path)})
}
