package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"runtimed/config"
	"runtimed/internal/daemon"
	"runtimed/internal/failure"
	"runtimed/internal/safefile"
	"runtimed/rpc"
	"runtimed/service"
)

type serviceCmd struct {
	Install   serviceInstallCmd   `cmd:"" help:"Start the daemon now and at every login."`
	Uninstall serviceUninstallCmd `cmd:"" help:"Remove the service. Environments stay, unless --purge."`
	Start     serviceStartCmd     `cmd:"" help:"Start the service, in place of a daemon that runs without it."`
	Stop      serviceStopCmd      `cmd:"" help:"${serviceStop}"`
	Restart   serviceRestartCmd   `cmd:"" help:"Restart the service's daemon. Environments in use stay in use."`
	Status    serviceStatusCmd    `cmd:"" help:"Print the state of the service."`
	Generate  serviceGenerateCmd  `cmd:"" hidden:""`
}

// serviceGenerateCmd is systemd's generator for the package's socket unit: see systemd.generator(7).
type serviceGenerateCmd struct {
	Dir string `arg:"" help:"Where generated units go."`
}

func (c *serviceGenerateCmd) Run(a *app) error {
	socket, err := a.Socket()
	if err != nil {
		return err
	}
	return service.Do(a.Ctx, service.Commands{}, service.Generate(c.Dir, socket, a.Env), func(service.Step) {})
}

type dryRun struct {
	DryRun bool `help:"Print the files and commands, and change nothing."`
}

type serviceInstallCmd struct {
	dryRun   `embed:""`
	OnDemand bool `help:"Start the daemon when somebody first asks for an environment, not at login."`
}

func (c *serviceInstallCmd) Run(a *app) error {
	if _, err := config.LoadToStart(config.Flags{}, a.Env); err != nil {
		return err // before a daemon that works is stopped
	}
	if err := a.CheckHome(); err != nil && !c.DryRun {
		return err
	}
	s, err := a.Service()
	if err != nil {
		return err
	}
	if s.Incomplete != nil {
		return s.Incomplete
	}
	s.Config.OnDemand = c.OnDemand
	steps, err := s.Install(a.Ctx, s.Config)
	if c.DryRun {
		if len(steps) > 0 {
			return a.planStart(s, steps, err)
		}
		return a.plan(s, steps, err)
	}
	if trouble := s.Check(a.Ctx); trouble != nil {
		return trouble
	}
	if err != nil {
		return err
	}
	if slices.ContainsFunc(steps, func(step service.Step) bool { return step.Write != nil && step.Write.From != "" }) {
		s.Note("the programs lie in %s, so the service has copies of its own in %s",
			s.CopyReason, filepath.Dir(s.Config.Program))
	}
	if len(steps) > 0 {
		if err := s.StopUnmanaged(); err != nil {
			return err
		}
	}
	if err := s.Do(steps, nil); err != nil {
		return err
	}
	return a.installed(s, len(steps) > 0)
}

func (a *app) installed(s *daemon.Service, changed bool) error {
	text := "installed: the daemon starts when somebody first asks"
	if !s.Config.OnDemand {
		info, err := s.WaitForDaemon()
		if err == nil && info.Replaced {
			changed = true
			if err = s.Do(s.Restart(s.Ctx)); err == nil {
				info, err = s.WaitForDaemon()
			}
		}
		if err != nil {
			return err
		}
		text = fmt.Sprintf("installed: the daemon runs (pid %d), and starts at every login", info.PID)
	}
	if !changed {
		return a.done(s, "already "+text+"; nothing was changed\nsocket: "+s.Config.Socket)
	}
	for _, v := range s.Config.Vars {
		s.Note("the service's daemon has %s=%s, as this shell", v.Name, v.Value)
	}
	if names := s.Lacks(s.Ctx); len(names) > 0 {
		where := cmp.Or(map[string]string{"darwin": "with launchctl setenv", "windows": "with setx"}[runtime.GOOS],
			"in a file of ~/.config/environment.d")
		s.Hint("this shell has %s, which a service does not inherit: set it %s, or use the configuration of uv "+
			"or conda", strings.Join(names, ", "), where)
	}
	if st, err := s.Status(s.Ctx, s.Config); err == nil && st.Linger != nil && !*st.Linger {
		s.Hint("it ends when you log out for good; to have it go on: loginctl enable-linger")
	}
	return a.done(s, text+"\nsocket: "+s.Config.Socket)
}

type serviceUninstallCmd struct {
	dryRun `embed:""`
	Purge  bool `help:"Remove the environments and everything else that the daemon keeps, unless one is in use."`
}

func (c *serviceUninstallCmd) Run(a *app) error {
	if err := a.CheckHome(); err != nil && !c.DryRun {
		return err
	}
	s, err := a.Service()
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
	if trouble := s.Check(a.Ctx); trouble != nil && len(steps) > 0 {
		if c.Purge { // a daemon that goes on would make all of it again
			return trouble
		}
		a.Note("the files are removed, but the daemon is not stopped: %s", trouble)
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
	if st, err := s.Status(a.Ctx, s.Config); err == nil && st.Package {
		a.Hint(againAtLogin)
	}
	if purge {
		whole, err := a.Purge()
		if err != nil {
			return err
		}
		text += fmt.Sprintf("; what the daemon kept in %s is removed", strings.Join(kept.Places, " and "))
		if !whole {
			text += ", except for what stays"
		}
	} else if dir, err := rpc.StateDir(runtime.GOOS, a.Env); err == nil && safefile.Exists(dir) && !c.Purge {
		text += "; environments and log stay in " + dir
	}
	return a.done(s, text)
}

// againAtLogin is about the units of the package, which are not the user's to remove.
const againAtLogin = "somebody has enabled it for every user, so it is there again at the next login; to prevent " +
	"that for you: systemctl --user mask runtimed.socket"

type serviceStartCmd struct {
	dryRun `embed:""`
}

func (c *serviceStartCmd) Run(a *app) error {
	s, st, err := a.installedService(c.DryRun)
	if err != nil {
		return err
	}
	steps, err := s.Start(a.Ctx)
	if c.DryRun || err != nil {
		return a.planStart(s, steps, err)
	}
	if st.Running && (st.Socket.Listening || !st.Socket.Installed) {
		return a.answering(s, "already running")
	}
	return a.started(s, steps, "started")
}

type serviceRestartCmd struct {
	dryRun `embed:""`
}

func (c *serviceRestartCmd) Run(a *app) error {
	s, st, err := a.installedService(c.DryRun)
	if err != nil {
		return err
	}
	steps, err := s.Restart(a.Ctx)
	if c.DryRun || err != nil {
		return a.planStart(s, steps, err)
	}
	if err := s.CheckRestart(st); err != nil {
		return err
	}
	return a.started(s, steps, "restarted")
}

func (a *app) started(s *daemon.Service, steps []service.Step, done string) error {
	if err := s.StopUnmanaged(); err != nil {
		return err
	}
	if err := s.Do(steps, nil); err != nil {
		return err
	}
	return a.answering(s, done)
}

func (a *app) answering(s *daemon.Service, done string) error {
	info, err := s.WaitForDaemon()
	if err != nil {
		return err
	}
	return a.done(s, fmt.Sprintf("%s: pid %d", done, info.PID))
}

func (a *app) installedService(dry bool) (*daemon.Service, service.Status, error) {
	var st service.Status
	if err := a.CheckHome(); err != nil && !dry {
		return nil, st, err
	}
	s, err := a.Service()
	if err != nil {
		return nil, st, err
	}
	st, err = s.Status(a.Ctx, s.Config)
	switch {
	case err != nil || dry:
	case !st.Installed && st.Trouble != nil:
		err = failure.New("the service is not installed, and could not be: %s", st.Trouble.Message).
			WithHint("%s", st.Trouble.Hint)
	case !st.Installed:
		err = failure.New("the service is not installed").WithHint("install it with: runt service install")
	case st.Trouble != nil:
		err = st.Trouble
	case !s.Serves(s.Config.Socket): // a daemon that answers there is none of the service's business
		err = failure.New("the service is installed for another socket than %s, which this shell uses",
			s.Config.Socket).
			WithHint("unset RUNTIMED_SOCKET and XDG_CACHE_HOME; or have the service use this one: runt service install")
	}
	return s, st, err
}

type serviceStopCmd struct {
	dryRun `embed:""`
}

func (c *serviceStopCmd) Run(a *app) error {
	s, err := a.Service()
	if err != nil {
		return err
	}
	steps, err := s.Stop(a.Ctx)
	if c.DryRun {
		return a.plan(s, steps, err)
	}
	st, serr := s.Status(a.Ctx, s.Config)
	switch {
	case serr != nil:
		return serr
	case !st.Installed:
		return a.done(s, "not installed")
	case st.Trouble != nil:
		return st.Trouble
	case !st.Running && !st.Socket.Listening:
		return a.done(s, "not running")
	}
	if err := s.Do(steps, err); err != nil {
		return err
	}
	if st.Enabled || st.Package {
		return a.done(s, "stopped, until the next login or: runt service start")
	}
	return a.done(s, "stopped")
}
