package main

import (
	"fmt"
	"runtime"
	"strings"

	"runtimed/rpc"
	"runtimed/service"
)

type serviceUninstallCmd struct {
	dryRun `embed:""`
	Purge  bool `help:"Remove the environments and everything else that the daemon keeps, unless one is in use."`
}

func (c *serviceUninstallCmd) Run(a *app) error {
	if err := a.ownHome(); err != nil && !c.DryRun {
		return err
	}
	s, err := a.servicesAnyway()
	if err != nil {
		return err
	}
	steps, err := s.Uninstall(a.ctx)
	if err != nil {
		return err
	}
	var kept rpc.Purged
	if c.Purge {
		if kept, err = a.purger("--dry-run"); err != nil && !(kept.InUse && !c.DryRun) {
			return err
		}
	}
	if c.DryRun {
		for _, path := range kept.Paths {
			steps = append(steps, service.Step{Remove: path})
		}
		return a.plan(s, steps, nil)
	}
	trouble := s.Check(a.ctx)
	if trouble != nil && len(steps) > 0 {
		if c.Purge { // a daemon that goes on would make all of it again
			return trouble
		}
		a.note("the files are removed, but what runs is not stopped: %s", trouble)
	}
	purge := len(kept.Paths) > 0 || kept.InUse
	if purge {
		if err := a.nothingUsed(); err != nil {
			return err
		}
	}
	if err := s.do(steps, nil); err != nil {
		return err
	}
	text := "uninstalled"
	if len(steps) == 0 {
		text = "not installed"
	}
	if purge {
		whole, err := a.purge()
		if err != nil {
			return err
		}
		text += fmt.Sprintf("; what the daemon kept in %s is removed", strings.Join(kept.Places, " and "))
		if !whole {
			text += ", but for what stays"
		}
	} else if dir, err := rpc.StateDir(runtime.GOOS, a.env); err == nil && exists(dir) && !c.Purge {
		text += "; environments and log stay in " + dir
	}
	return a.done(s, text)
}
