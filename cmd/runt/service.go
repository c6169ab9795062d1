package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"runtimed/internal/daemon"
	"runtimed/internal/redact"
	"runtimed/service"
)

type serviceCmd struct {
	Install   serviceInstallCmd   `cmd:"" help:"Have the daemon start at login, and start it now."`
	Uninstall serviceUninstallCmd `cmd:"" help:"Take the service away. Environments stay, unless --purge."`
	Start     serviceStartCmd     `cmd:"" help:"Start the service, in the place of a daemon that no service runs."`
	Stop      serviceStopCmd      `cmd:"" help:"Stop the service until the next login. Environments in use stay in use."`
	Restart   serviceRestartCmd   `cmd:"" help:"Start the service's daemon anew. Environments in use stay in use."`
	Status    serviceStatusCmd    `cmd:"" help:"Print what there is of the service."`
}

type dryRun struct {
	DryRun bool `help:"Print the files and commands, and change nothing."`
}

func (a *app) encode(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// plan prints steps in the place of taking them.
func (a *app) plan(s *daemon.Service, steps []service.Step, err error) error {
	if err != nil {
		return err
	}
	if err := s.Check(s.Ctx); err != nil {
		var p *service.Problem
		if errors.As(err, &p) {
			s.Note("here it would fail: %s", p.Message)
			s.Hint("%s", p.Hint)
		}
	}
	if a.json {
		return a.planJSON(steps)
	}
	if len(steps) == 0 {
		fmt.Fprintln(a.stdout, "nothing to do")
	}
	for _, step := range steps {
		if step.Write == nil || step.Write.From != "" {
			fmt.Fprintln(a.stdout, redact.Printable(step.String()))
			continue
		}
		fmt.Fprintf(a.stdout, "%s:\n", redact.Printable(step.String()))
		for line := range strings.Lines(step.Write.Text()) {
			fmt.Fprint(a.stdout, strings.TrimRight("    "+line, "\n"), "\n")
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
	return a.encode(struct {
		Steps []planned `json:"steps"`
	}{list})
}

// planStart is plan for steps before which a daemon that no manager runs is stopped.
func (a *app) planStart(s *daemon.Service, steps []service.Step, err error) error {
	if c, _, err := s.Unmanaged(); err == nil && c != nil {
		c.Close()
		steps = append([]service.Step{{Run: []string{"runt", "daemon", "stop"}}}, steps...)
	}
	return a.plan(s, steps, err)
}
