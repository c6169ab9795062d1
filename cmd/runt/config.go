package main

import (
	"fmt"

	"runtimed/config"
	"runtimed/internal/failure"
	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
	"runtimed/rpc"
)

type configCmd struct {
	Show  configShowCmd  `cmd:"" help:"Print every value in force and where it comes from."`
	Check configCheckCmd `cmd:"" help:"Check the file and the environment."`
	Path  configPathCmd  `cmd:"" help:"Print the path of the file."`
}

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
	if at, err := rpc.Paths(cfg.Socket, cfg.CacheDir); err == nil { // else it cannot be told
		cfg.Chosen, _ = statedir.ChosenPython(at.State)
		if cfg.State = at.State; statedir.CheckLength(at.State) != nil {
			cfg.Warnings = append(cfg.Warnings, statedir.CheckLength(at.State).Error())
		}
	}
	return a.show(struct {
		Path     string           `json:"path"`
		Exists   bool             `json:"exists"`
		System   string           `json:"system,omitempty"` // the administrator's file, if it is there
		Settings []config.Setting `json:"settings"`
		Warnings []string         `json:"warnings,omitempty"`
	}{cfg.Path, safefile.Exists(cfg.Path), cfg.System, cfg.Settings(), cfg.Warnings},
		func() { cfg.Write(a.stdout) })
}

type configCheckCmd struct {
	configFile `embed:""`
}

func (c *configCheckCmd) Run(a *app) error {
	cfg, err := config.Load(c.flags(), a.Env)
	if err != nil {
		return &failure.Error{Code: failure.Failed, Message: err.Error()}
	}
	for _, warning := range cfg.Warnings {
		a.Note("warning: %s", warning)
	}
	text := "ok: " + cfg.Place()
	if cfg.System != "" {
		text += "\nok: " + cfg.System
	}
	return a.showPath(cfg.Path, text)
}

type configPathCmd struct {
	configFile `embed:""`
}

func (c *configPathCmd) Run(a *app) error {
	path, err := config.FilePath(c.flags(), a.Env)
	if err != nil {
		return err
	}
	return a.showPath(path, path)
}

func (a *app) showPath(path, text string) error {
	return a.show(struct {
		Path   string `json:"path"`
		Exists bool   `json:"exists"`
	}{path, safefile.Exists(path)}, func() { fmt.Fprintln(a.stdout, text) })
}
