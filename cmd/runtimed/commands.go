package main

import (
	"encoding/json"
	"errors"

	"github.com/alecthomas/kong"
	"go.uber.org/zap"

	"runtimed/config"
	"runtimed/doctor"
	"runtimed/internal/statedir"
	"runtimed/pool"
	"runtimed/rpc"
)

// runt runs these commands, since it has none of the daemon's code.

// doctorCommand is the daemon's part of `runt doctor`.
type doctorCommand struct {
	JSON      bool `name:"json" help:"Print the findings as JSON; there is no other form."`
	Fix       bool `help:"Repair what is ours, and say what was done."`
	Listening bool `help:"A service manager listens for a daemon that does not run: to connect would start it."`
}

// AfterApply runs the command: it needs no others.
func (c doctorCommand) AfterApply(k *kong.Kong) error {
	options := doctor.Options{Fix: c.Fix, Listening: c.Listening, UV: uvConfig, Conda: condaConfig}
	k.Exit(code(doctor.Run(k.Stdout, options)))
	return nil
}

// purgeCommand is the daemon's part of `runt service uninstall --purge`.
type purgeCommand struct {
	DryRun bool `help:"Print what would be removed, and change nothing."`
	Check  bool `help:"Only see whether an environment is in use."`
}

// AfterApply runs the command.
func (c purgeCommand) AfterApply(k *kong.Kong) error {
	p, err := c.purge()
	result := rpc.Purged{
		Places: p.Places, Paths: p.Paths, Stays: p.Stays,
		Held: errors.As(err, new(*statedir.HeldError)), InUse: errors.As(err, new(*pool.InUseError)),
	}
	if err != nil {
		result.Error = err.Error()
	}
	enc := json.NewEncoder(k.Stdout)
	enc.SetEscapeHTML(false)
	k.Exit(code(enc.Encode(result) == nil && err == nil))
	return nil
}

func code(ok bool) int {
	if ok {
		return exitStopped
	}
	return exitUseless
}

func (c purgeCommand) purge() (p statedir.Purged, err error) {
	s, err := loadSettings(config.Flags{})
	if err != nil {
		return p, err
	}
	at, err := findPaths(s)
	if err != nil {
		return p, err
	}
	return statedir.Purge(at, c.DryRun, c.Check, func(dry bool) ([]string, []statedir.Stays, error) {
		return pool.Purge(at.State, dry, zap.NewNop())
	})
}
