package main

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"runtimed/config"
	"runtimed/internal/daemon"
	"runtimed/internal/failure"
	"runtimed/internal/redact"
	"runtimed/service"
)

type serviceInstallCmd struct {
	dryRun   `embed:""`
	OnDemand bool `help:"Start the daemon when somebody first asks for an environment, not at login."`
}

func (c *serviceInstallCmd) Run(a *app) error {
	if _, err := config.Load(config.Flags{}, a.Env); err != nil {
		return err // before a daemon that works is stopped
	}
	if err := a.CheckHome(); err != nil && !c.DryRun {
		return err
	}
	s, err := a.NewService(c.OnDemand)
	if err != nil {
		return err
	}
	if c.DryRun {
		steps, err := s.Install(a.Ctx, s.Config)
		if len(steps) == 0 {
			return a.plan(s, steps, err)
		}
		return a.planStart(s, steps, err)
	}
	if err := s.Check(a.Ctx); err != nil {
		return err
	}
	steps, err := s.Install(a.Ctx, s.Config)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(steps, func(step service.Step) bool { return step.Write != nil && step.Write.From != "" }) {
		s.Note("the programs lie in %s, so the service has copies of its own in %s", s.CopyReason, filepath.Dir(s.Config.Program))
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

// installed checks what was done, and tells it.
func (a *app) installed(s *daemon.Service, changed bool) error {
	text := "installed: the daemon starts when somebody first asks"
	if !s.Config.OnDemand {
		info, err := s.WaitForDaemon()
		if err != nil {
			return err
		}
		if info.Replaced {
			if err := s.Do(s.Restart(s.Ctx)); err != nil {
				return err
			}
			changed = true
			if info, err = s.WaitForDaemon(); err != nil {
				return err
			}
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
		s.Hint("this shell has %s, and a service does not get that from it: %s", strings.Join(names, ", "), whereVariables())
	}
	if st, err := s.Status(s.Ctx, s.Config); err == nil && st.Linger != nil && !*st.Linger {
		s.Hint("it ends when you log out for good; to have it go on: loginctl enable-linger")
	}
	return a.done(s, text+"\nsocket: "+s.Config.Socket)
}

// whereVariables is where a variable must be set for a service to have it.
func whereVariables() string {
	if runtime.GOOS == "darwin" {
		return "set it with launchctl setenv, or use the configuration of uv or conda"
	}
	return "set it in a file of ~/.config/environment.d, or use the configuration of uv or conda"
}

// done prints the text, or the status as JSON.
func (a *app) done(s *daemon.Service, text string) error {
	st, err := s.Status(s.Ctx, s.Config)
	if err != nil {
		return err
	}
	if a.json {
		return a.encode(st)
	}
	fmt.Fprintln(a.stdout, redact.PrintableLines(text))
	return nil
}

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
		info, err := s.WaitForDaemon()
		if err != nil {
			return err
		}
		return a.done(s, fmt.Sprintf("already running: pid %d", info.PID))
	}
	return a.started(s, steps, "started")
}

// started takes the steps that start the service, and tells how that went.
func (a *app) started(s *daemon.Service, steps []service.Step, word string) error {
	if err := s.StopUnmanaged(); err != nil {
		return err
	}
	if err := s.Do(steps, nil); err != nil {
		return err
	}
	info, err := s.WaitForDaemon()
	if err != nil {
		return err
	}
	return a.done(s, fmt.Sprintf("%s: pid %d", word, info.PID))
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

// installedService is for commands that have nothing to do where there is no service.
func (a *app) installedService(dry bool) (*daemon.Service, service.Status, error) {
	if err := a.CheckHome(); err != nil && !dry {
		return nil, service.Status{}, err
	}
	s, err := a.LookUpService()
	if err != nil {
		return nil, service.Status{}, err
	}
	st, err := s.Status(a.Ctx, s.Config)
	switch {
	case err != nil:
		return s, st, err
	case !st.Installed && !dry:
		return s, st, failure.New("the service is not installed").WithHint("install it with: runt service install")
	case st.Trouble != nil && !dry:
		return s, st, st.Trouble
	case !s.Serves(s.Config.Socket) && !dry: // a daemon that answers there is none of the service's business
		return s, st, failure.New("the service is installed for another socket than %s, which this shell uses", s.Config.Socket).
			WithHint("unset RUNTIMED_SOCKET and XDG_CACHE_HOME; or have the service use this one: runt service install")
	}
	return s, st, nil
}

type serviceStopCmd struct {
	dryRun `embed:""`
}

func (c *serviceStopCmd) Run(a *app) error {
	s, err := a.LookUpService()
	if err != nil {
		return err
	}
	if c.DryRun {
		steps, err := s.Stop(a.Ctx)
		return a.plan(s, steps, err)
	}
	st, err := s.Status(a.Ctx, s.Config)
	switch {
	case err != nil:
		return err
	case !st.Installed:
		return a.done(s, "not installed")
	case st.Trouble != nil:
		return st.Trouble
	case !st.Running && !st.Socket.Listening:
		return a.done(s, "not running")
	}
	if err := s.Do(s.Stop(a.Ctx)); err != nil {
		return err
	}
	if st.Enabled {
		return a.done(s, "stopped, until the next login or: runt service start")
	}
	return a.done(s, "stopped")
}

type serviceStatusCmd struct{}

func (serviceStatusCmd) Run(a *app) error {
	s, err := a.LookUpService()
	if err != nil {
		return err
	}
	st, err := s.Status(a.Ctx, s.Config)
	if err != nil {
		return err
	}
	if a.json {
		return a.encode(st)
	}
	writeService(a.stdout, st)
	switch {
	case st.Trouble != nil:
		a.Note("%s", st.Trouble.Message)
		a.Hint("%s", st.Trouble.Hint)
	case !st.Installed:
		a.Hint("install it with: runt service install")
	case !st.UpToDate:
		a.Hint("what install would write from this shell is something else; to have that: runt service install")
	}
	return nil
}
