package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"runtime"
	"strings"

	"runtimed/internal/failure"
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
		return s.plan(steps, nil)
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
	return s.done(text)
}

// purger has the daemon's program look or remove, by the daemon's own rules and under its locks.
func (a *app) purger(flags ...string) (said rpc.Purged, err error) {
	program, err := daemonProgram()
	if err != nil {
		return said, err
	}
	var errs bytes.Buffer
	cmd := exec.Command(program, append([]string{"purge"}, flags...)...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if json.Unmarshal(out, &said) != nil {
		f := failure.New("%s cannot purge: %v", program, err).WithHint("install it anew, in the version of runt")
		f.Quote(rpc.Name, errs.String())
		return said, f
	}
	switch {
	case said.InUse:
		return said, failure.New("%s", said.Error).WithHint("end who uses them; runt env list shows all; without --purge the service alone is taken away")
	case said.Error != "":
		return said, failure.New("%s", said.Error).WithHint("nothing is removed")
	}
	return said, nil
}

// nothingUsed says what is in use: as a daemon that runs knows, else as the disk tells.
func (a *app) nothingUsed() error {
	err := a.nothingLeased()
	if rpc.KindOf(err) != rpc.KindUnreachable {
		return err
	}
	if said, err := a.purger("--check"); !said.Held {
		return err
	}
	return a.nothingLeased() // it has just started
}

// purge removes what a daemon keeps; whole says that nothing stays. Where a daemon starts meanwhile, it is asked, and stopped too.
func (a *app) purge() (whole bool, err error) {
	for try := 1; ; try++ {
		if err := a.stopAny(); err != nil {
			return false, err
		}
		said, err := a.purger()
		if said.Held && try < 5 {
			if err := a.nothingLeased(); err != nil && rpc.KindOf(err) != rpc.KindUnreachable {
				return false, err
			}
			continue
		}
		for _, s := range said.Stays {
			a.note("%s stays: %s", s.Path, s.Why)
		}
		return len(said.Stays) == 0, err
	}
}

// nothingLeased asks the daemon that runs whether anything is leased.
func (a *app) nothingLeased() error {
	c, _, err := a.connect(nil)
	if rpc.KindOf(err) == rpc.KindUnreachable {
		return err
	}
	if err != nil {
		f := failure.Of(err)
		f.Message = "nobody tells whether an environment is in use, so nothing is removed: " + f.Message
		return f
	}
	defer c.Close()
	leased := rpc.EnvLeased
	raw, err := a.call(c, rpc.MethodEnvList, rpc.EnvListParams{State: &leased}, 0)
	if err != nil {
		return err
	}
	var list rpc.EnvListResult
	if err := json.Unmarshal(raw, &list); err != nil {
		return failure.New("the daemon's answer has another shape than this runt expects")
	}
	if len(list.Envs) == 0 {
		return nil
	}
	e := list.Envs[0]
	return failure.New("%d of the environments are in use (%s by %s), so nothing is removed", len(list.Envs), e.ID, leaseText(e.Lease)).
		WithHint("end who uses them; runt env list shows all; without --purge the service alone is taken away")
}

// stopAny ends a daemon, whoever started it.
func (a *app) stopAny() error {
	c, info, err := a.meet(a.ctx, nil)
	if rpc.KindOf(err) == rpc.KindUnreachable {
		return nil
	}
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = a.shutdown(c, info)
	return err
}
