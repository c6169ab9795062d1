package main

import (
	"fmt"
	"runtime"
	"strings"

	"runtimed/internal/safefile"
	"runtimed/rpc"
	"runtimed/service"
)

type serviceUninstallCmd struct {
	dryRun `embed:""`
	Purge  bool `help:"Remove the environments and everything else that the daemon keeps, unless one is in use."`
}

func (c *serviceUninstallCmd) Run(a *app) error {
	if err := a.CheckHome(); err != nil && !c.DryRun {
		return err
	}
	s, err := a.LookUpService()
	if err != nil {
		return err
	}
	steps, err := s.Uninstall(a.Ctx)
	if err != nil {
		return err
	}
	var kept rpc.Purged
	if c.Purge {
		if kept, err = a.RunPurge("--dry-run"); err != nil && !(kept.InUse && !c.DryRun) {
			return err
		}
	}
	if c.DryRun {
		for _, path := range kept.Paths {
			steps = append(steps, service.Step{Remove: path})
		}
		return a.plan(s, steps, nil)
	}
	trouble := s.Check(a.Ctx)
	if trouble != nil && len(steps) > 0 {
		if c.Purge { // a daemon that goes on would make all of it again
			return trouble
		}
		a.Note("the files are removed, but what runs is not stopped: %s", trouble)
	}
	purge := len(kept.Paths) > 0 || kept.InUse
	if purge {
		if err := a.CheckUnused(); err != nil {
			return err
		}
	}
	if err := s.Do(steps, nil); err != nil {
		return err
	}
	text := "uninstalled"
	if len(steps) == 0 {
		text = "not installed"
	}
	if purge {
		whole, err := a.Purge()
		if err != nil {
			return err
		}
		text += fmt.Sprintf("; what the daemon kept in %s is removed", strings.Join(kept.Places, " and "))
		if !whole {
			text += ", but for what stays"
		}
	} else if dir, err := rpc.StateDir(runtime.GOOS, a.Env); err == nil && safefile.Exists(dir) && !c.Purge {
		text += "; environments and log stay in " + dir
	}
	return a.done(s, text)
}
