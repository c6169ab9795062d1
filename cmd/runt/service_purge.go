package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"runtimed/config"
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
	var places []string
	if c.Purge {
		if places, err = a.statePlaces(); err != nil {
			return err
		}
	}
	steps, err := s.Uninstall(a.ctx)
	if err != nil {
		return serviceFailure(err)
	}
	if c.DryRun {
		for _, path := range made(places) {
			steps = append(steps, service.Step{Remove: path})
		}
		return s.plan(steps, nil)
	}
	trouble := s.Check(a.ctx)
	if trouble != nil && len(steps) > 0 {
		if c.Purge { // a daemon that goes on would make all of it again
			return serviceFailure(trouble)
		}
		a.note("the files are removed, but what runs is not stopped: %s", trouble)
	}
	left := made(places)
	if len(left) > 0 {
		if err := a.nothingLeased(); err != nil {
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
	if len(left) > 0 {
		if err := a.stopAny(); err != nil {
			return err
		}
		if err := a.purge(places); err != nil {
			return err
		}
		text += fmt.Sprintf("; what the daemon kept in %s is removed", strings.Join(places, " and "))
	} else if dir, err := rpc.StateDir(runtime.GOOS, a.env); err == nil && exists(dir) && !c.Purge {
		text += "; environments and log stay in " + dir
	}
	return s.done(text)
}

// statePlaces are the folders that a daemon of this shell keeps things in.
func (a *app) statePlaces() ([]string, error) {
	socket, err := a.socket()
	if err != nil {
		return nil, err
	}
	cfg, err := config.Load(config.Flags{}, a.env)
	if err != nil {
		return nil, err // it names the folder
	}
	state := cfg.CacheDir
	if state == "" {
		if state, err = rpc.StateDir(runtime.GOOS, a.env); err != nil {
			return nil, err
		}
	}
	places := []string{state}
	if dir := filepath.Dir(socket); runtime.GOOS != "windows" && dir != state {
		places = append(places, dir)
	}
	return places, nil
}

// made are the files and folders in places that a daemon makes. Nothing else there is ours to remove.
func made(places []string) []string {
	var paths []string
	for _, dir := range places {
		for _, pattern := range []string{
			"envs", "locks", "tools", "daemon.lock", "daemon.json", "runtimed.sock", "runtimed.log", "runtimed-*.log*",
		} {
			names, _ := fs.Glob(os.DirFS(dir), pattern)
			for _, name := range names {
				paths = append(paths, filepath.Join(dir, name))
			}
		}
	}
	return paths
}

// nothingLeased asks the daemon, and starts one where none runs: it alone tells a lease from one whose owner is gone.
func (a *app) nothingLeased() (refused error) {
	c, _, err := a.connect(nil)
	if rpc.KindOf(err) == rpc.KindUnreachable {
		a.note("start a daemon for a moment, to ask it which environments are in use")
		if err = a.start(true); err == nil {
			defer func() {
				if refused != nil {
					_ = a.stopAny() // that is said which kept us
				}
			}()
			c, _, err = a.connect(nil)
		}
	}
	if err != nil {
		f := asFailure(err)
		f.message = "nobody tells whether an environment is in use, so nothing is removed: " + f.message
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
		return failed("the daemon's answer has another shape than this runt expects")
	}
	if len(list.Envs) == 0 {
		return nil
	}
	e := list.Envs[0]
	return failed("%d of the environments are in use (%s by %s), so nothing is removed", len(list.Envs), e.ID, leaseText(e.Lease)).
		withHint("end who uses them; runt env list shows all; without --purge the service alone is taken away")
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

// purge removes what a daemon made, and then the folders, if nothing else is in them.
func (a *app) purge(places []string) error {
	for _, path := range made(places) {
		if filepath.Base(path) == "envs" {
			if err := removeEnvs(path); err != nil {
				return err
			}
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	slices.SortFunc(places, func(x, y string) int { return len(y) - len(x) }) // one may lie in the other
	for _, dir := range places {
		real, err := filepath.EvalSymlinks(dir)
		if err == nil {
			err = os.Remove(real)
		}
		if err == nil && real != dir { // it was a link, which leads nowhere now
			err = os.Remove(dir)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			a.note("%s stays: something is in it that the daemon did not make", dir)
		}
	}
	return nil
}

// removeEnvs removes environments with all that belongs to them. A folder without a manifest is none of ours, as everywhere.
func removeEnvs(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		ours := name == ".trash" || exists(filepath.Join(dir, name, "runtimed.json")) || exists(filepath.Join(dir, ".new", name+".json"))
		if !ours {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, ".new")); err != nil { // last: its records tell of what was still to be removed
		return err
	}
	_ = os.Remove(dir) // unless it has more
	return nil
}
