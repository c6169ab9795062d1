package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"runtimed/internal/daemon"
	"runtimed/internal/redact"
	"runtimed/service"
)

func (a *app) done(s *daemon.Service, text string) error {
	st, err := s.Status(s.Ctx, s.Config)
	if err != nil {
		return err
	}
	return a.show(st, func() { fmt.Fprintln(a.stdout, redact.PrintableLines(text)) })
}

func (a *app) plan(s *daemon.Service, steps []service.Step, err error) error {
	if err != nil {
		return err
	}
	var p *service.Problem
	if errors.As(s.Check(s.Ctx), &p) {
		s.Note("here it would fail: %s", p.Message)
		s.Hint("%s", p.Hint)
	}
	if a.json {
		return a.planJSON(steps)
	}
	if len(steps) == 0 {
		fmt.Fprintln(a.stdout, "nothing to do")
	}
	for _, step := range steps {
		text := redact.Printable(step.String())
		if step.Write == nil || step.Write.From != "" {
			fmt.Fprintln(a.stdout, text)
			continue
		}
		fmt.Fprintf(a.stdout, "%s:\n", text)
		for line := range strings.Lines(step.Write.Text()) {
			fmt.Fprintf(a.stdout, "    %s\n", strings.TrimRight(line, "\n"))
		}
	}
	return nil
}

func (a *app) planJSON(steps []service.Step) error {
	type planned struct {
		Do   string   `json:"do"`
		Path string   `json:"path,omitempty"`
		Text string   `json:"text,omitempty"`
		From string   `json:"from,omitempty"`
		Run  []string `json:"run,omitempty"`
	}
	list := []planned{}
	for _, step := range steps {
		switch {
		case step.Write != nil && step.Write.From != "":
			list = append(list, planned{Do: "copy", Path: step.Write.Path, From: step.Write.From})
		case step.Write != nil:
			list = append(list, planned{Do: "write", Path: step.Write.Path, Text: step.Write.Text()})
		case step.Folder != "":
			list = append(list, planned{Do: "make_folder", Path: step.Folder})
		case step.Remove != "":
			list = append(list, planned{Do: "remove", Path: step.Remove})
		case step.Tidy != "":
			list = append(list, planned{Do: "remove_if_empty", Path: step.Tidy})
		default:
			list = append(list, planned{Do: "run", Run: step.Run})
		}
	}
	return a.encode(map[string]any{"steps": list})
}

func (a *app) planStart(s *daemon.Service, steps []service.Step, err error) error {
	if c, _, err := s.Unmanaged(); err == nil && c != nil {
		c.Close()
		steps = append([]service.Step{{Run: []string{"runt", "daemon", "stop"}}}, steps...)
	}
	return a.plan(s, steps, err)
}

func writeService(w io.Writer, s service.Status) {
	running, listening := yesNo(s.Running), yesNo(s.Socket.Listening)
	if s.Trouble != nil {
		running, listening = "unknown", "unknown"
	}
	if s.PID != 0 {
		running += fmt.Sprintf(", pid %d", s.PID)
	}
	enabled := "no"
	switch {
	case s.OnDemand && s.Installed:
		enabled = "on demand: the daemon starts when somebody first asks"
	case s.Enabled:
		enabled = "yes: the daemon starts at login"
	}
	installed := yesNo(s.Installed)
	switch {
	case s.Package:
		installed += ", by the package, for every user"
	case s.Installed && s.UpToDate:
		installed += ", up to date"
	}
	fmt.Fprintf(w, "Manager:    %s\nInstalled:  %s\nEnabled:    %s\nRunning:    %s\n", s.Manager, installed, enabled,
		running)
	if s.Socket.Installed {
		fmt.Fprintf(w, "Listening:  %s\n", listening)
	}
	if s.Linger != nil {
		linger := "yes: it goes on after logout"
		if !*s.Linger {
			linger = "no: it ends when you log out for good (loginctl enable-linger)"
		}
		fmt.Fprintf(w, "Linger:     %s\n", linger)
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

type serviceStatusCmd struct{}

func (serviceStatusCmd) Run(a *app) error {
	s, err := a.Service()
	if err != nil {
		return err
	}
	st, err := s.Status(a.Ctx, s.Config)
	if err != nil {
		return err
	}
	return a.show(st, func() {
		writeService(a.stdout, st)
		switch {
		case st.Trouble != nil:
			a.Note("%s", st.Trouble.Message)
			a.Hint("%s", st.Trouble.Hint)
		case !st.Installed:
			a.Hint("install it with: runt service install")
		case !st.UpToDate:
			a.Hint("install would write something else from this shell; to do that: runt service install")
		}
	})
}
