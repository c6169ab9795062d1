package main

import (
	"fmt"

	"runtimed/config"
	"runtimed/internal/failure"
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
		return a.encode(struct {
			Path     string           `json:"path"`
			Exists   bool             `json:"exists"`
			Settings []config.Setting `json:"settings"`
		}{cfg.Path, safefile.Exists(cfg.Path), cfg.Settings()})
	}
	cfg.Write(a.stdout)
	return nil
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
	fmt.Fprintln(a.stdout, "ok:", cfg.Place())
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
	return a.encode(struct {
		Path   string `json:"path"`
		Exists bool   `json:"exists"`
	}{path, safefile.Exists(path)})
}
