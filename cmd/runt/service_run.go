package main

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"runtimed/config"
	"runtimed/internal/failure"
	"runtimed/internal/redact"
	"runtimed/service"
)

type serviceInstallCmd struct {
	dryRun   `embed:""`
	OnDemand bool `help:"Start the daemon when somebody first asks for an environment, not at login."`
}

func (c *serviceInstallCmd) Run(a *app) error {
	if _, err := config.Load(config.Flags{}, a.env); err != nil {
		return err // before a daemon that works is stopped
	}
	if err := a.ownHome(); err != nil && !c.DryRun {
		return err
	}
	s, err := a.services(c.OnDemand)
	if err != nil {
		return err
	}
	if c.DryRun {
		steps, err := s.Install(a.ctx, s.config)
		if len(steps) == 0 {
			return a.plan(s, steps, err)
		}
		return a.planStart(s, steps, err)
	}
	if err := s.Check(a.ctx); err != nil {
		return err
	}
	steps, err := s.Install(a.ctx, s.config)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(steps, func(step service.Step) bool { return step.Write != nil && step.Write.From != "" }) {
		s.note("the programs lie in %s, so the service has copies of its own in %s", s.why, filepath.Dir(s.config.Program))
	}
	if len(steps) > 0 {
		if err := s.handOver(); err != nil {
			return err
		}
	}
	if err := s.do(steps, nil); err != nil {
		return err
	}
	return a.installed(s, len(steps) > 0)
}

// installed checks what was done, and tells it.
func (a *app) installed(s *services, changed bool) error {
	text := "installed: the daemon starts when somebody first asks"
	if !s.config.OnDemand {
		info, err := s.answers()
		if err != nil {
			return err
		}
		if info.Replaced {
			if err := s.do(s.Restart(s.ctx)); err != nil {
				return err
			}
			changed = true
			if info, err = s.answers(); err != nil {
				return err
			}
		}
		text = fmt.Sprintf("installed: the daemon runs (pid %d), and starts at every login", info.PID)
	}
	if !changed {
		return a.done(s, "already "+text+"; nothing was changed\nsocket: "+s.config.Socket)
	}
	for _, v := range s.config.Vars {
		s.note("the service's daemon has %s=%s, as this shell", v.Name, v.Value)
	}
	if names := s.Lacks(s.ctx); len(names) > 0 {
		s.hint("this shell has %s, and a service does not get that from it: %s", strings.Join(names, ", "), whereVariables())
	}
	if st, err := s.Status(s.ctx, s.config); err == nil && st.Linger != nil && !*st.Linger {
		s.hint("it ends when you log out for good; to have it go on: loginctl enable-linger")
	}
	return a.done(s, text+"\nsocket: "+s.config.Socket)
}

// whereVariables is where a variable must be set for a service to have it.
func whereVariables() string {
	if runtime.GOOS == "darwin" {
		return "set it with launchctl setenv, or use the configuration of uv or conda"
	}
	return "set it in a file of ~/.config/environment.d, or use the configuration of uv or conda"
}

// done prints the text, or the status as JSON.
func (a *app) done(s *services, text string) error {
	st, err := s.Status(s.ctx, s.config)
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
	steps, err := s.Start(a.ctx)
	if c.DryRun || err != nil {
		return a.planStart(s, steps, err)
	}
	if st.Running && (st.Socket.Listening || !st.Socket.Installed) {
		info, err := s.answers()
		if err != nil {
			return err
		}
		return a.done(s, fmt.Sprintf("already running: pid %d", info.PID))
	}
	return a.started(s, steps, "started")
}

// started takes the steps that start the service, and tells how that went.
func (a *app) started(s *services, steps []service.Step, word string) error {
	if err := s.handOver(); err != nil {
		return err
	}
	if err := s.do(steps, nil); err != nil {
		return err
	}
	info, err := s.answers()
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
	steps, err := s.Restart(a.ctx)
	if c.DryRun || err != nil {
		return a.planStart(s, steps, err)
	}
	if err := s.startsAgain(st); err != nil {
		return err
	}
	return a.started(s, steps, "restarted")
}

// installedService is for commands that have nothing to do where there is no service.
func (a *app) installedService(dry bool) (*services, service.Status, error) {
	if err := a.ownHome(); err != nil && !dry {
		return nil, service.Status{}, err
	}
	s, err := a.servicesAnyway()
	if err != nil {
		return nil, service.Status{}, err
	}
	st, err := s.Status(a.ctx, s.config)
	switch {
	case err != nil:
		return s, st, err
	case !st.Installed && !dry:
		return s, st, failure.New("the service is not installed").WithHint("install it with: runt service install")
	case st.Trouble != nil && !dry:
		return s, st, st.Trouble
	case !s.Serves(s.config.Socket) && !dry: // a daemon that answers there is none of the service's business
		return s, st, failure.New("the service is installed for another socket than %s, which this shell uses", s.config.Socket).
			WithHint("unset RUNTIMED_SOCKET and XDG_CACHE_HOME; or have the service use this one: runt service install")
	}
	return s, st, nil
}

type serviceStopCmd struct {
	dryRun `embed:""`
}

func (c *serviceStopCmd) Run(a *app) error {
	s, err := a.servicesAnyway()
	if err != nil {
		return err
	}
	if c.DryRun {
		steps, err := s.Stop(a.ctx)
		return a.plan(s, steps, err)
	}
	st, err := s.Status(a.ctx, s.config)
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
	if err := s.do(s.Stop(a.ctx)); err != nil {
		return err
	}
	if st.Enabled {
		return a.done(s, "stopped, until the next login or: runt service start")
	}
	return a.done(s, "stopped")
}

type serviceStatusCmd struct{}

func (serviceStatusCmd) Run(a *app) error {
	s, err := a.servicesAnyway()
	if err != nil {
		return err
	}
	st, err := s.Status(a.ctx, s.config)
	if err != nil {
		return err
	}
	if a.json {
		return a.encode(st)
	}
	writeService(a.stdout, st)
	switch {
	case st.Trouble != nil:
		a.note("%s", st.Trouble.Message)
		a.hint("%s", st.Trouble.Hint)
	case !st.Installed:
		a.hint("install it with: runt service install")
	case !st.UpToDate:
		a.hint("what install would write from this shell is something else; to have that: runt service install")
	}
	return nil
}
