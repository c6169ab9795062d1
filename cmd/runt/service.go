package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"runtimed/internal/failure"
	"runtimed/internal/logview"
	"runtimed/internal/redact"
	"runtimed/rpc"
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

// services is what the commands of `runt service` share.
type services struct {
	*app
	service.Manager
	config service.Config
	why    string    // the programs are copied
	began  time.Time // what was said before is of no interest
}

func (a *app) manager() (service.Manager, error) {
	return service.New(runtime.GOOS, a.env, service.Commands{})
}

// services works out what would be installed from this shell.
func (a *app) services(onDemand bool) (*services, error) {
	m, err := a.manager()
	if err != nil {
		return nil, err
	}
	socket, err := a.socket()
	if err != nil {
		return nil, err
	}
	log, err := a.logFile()
	if err != nil {
		return nil, err
	}
	found, err := daemonProgram()
	if err != nil {
		return nil, err
	}
	s := &services{app: a, Manager: m, began: time.Now()}
	s.config = service.Config{
		Socket: socket, Log: log, Vars: service.Variables(a.env), OnDemand: onDemand,
	}
	s.config.Program, s.config.Copies, s.why = service.Settle(found, a.namesOf(filepath.Base(found)), a.env)
	return s, nil
}

// namesOf are paths by which people know a program: beside runt as it was called, then on PATH. An upgrade changes what they lead to.
func (a *app) namesOf(program string) []string {
	var paths []string
	if called, err := exec.LookPath(os.Args[0]); err == nil {
		if called, err = filepath.Abs(called); err == nil {
			paths = append(paths, filepath.Join(filepath.Dir(called), program))
		}
	}
	for _, dir := range filepath.SplitList(a.env("PATH")) {
		if filepath.IsAbs(dir) {
			paths = append(paths, filepath.Join(dir, program))
		}
	}
	return paths
}

// managed is the manager of a service that listens where this shell's clients connect. It is nil where none is installed or the
// manager cannot be used from here: then all is as without one.
func (a *app) managed() service.Manager {
	m, err := a.manager()
	if err != nil {
		return nil
	}
	path, err := a.socket()
	if err != nil || !m.Serves(path) || m.Check(a.ctx) != nil {
		return nil
	}
	return m
}

// do takes steps and says so. Where a command of the manager fails, it has the daemon say why.
func (s *services) do(steps []service.Step, err error) error {
	if err != nil {
		return err
	}
	err = service.Do(s.ctx, service.Commands{}, steps, func(step service.Step) { s.note("%s", step) })
	var command *service.Problem
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &command):
		return s.withLog(err)
	case errors.As(err, &path), errors.As(err, &link):
		return failure.New("%v", err).WithHint("the place must be yours and writable, and its disk not full; then do it again")
	}
	return err
}

// note is progress in words.
func (a *app) note(format string, args ...any) {
	if !a.json {
		fmt.Fprintln(a.stderr, "runt:", redact.Line(fmt.Sprintf(format, args...)))
	}
}

func (a *app) hint(format string, args ...any) { a.note("hint: "+format, args...) }

// plan prints steps in the place of taking them.
func (s *services) plan(steps []service.Step, err error) error {
	if err != nil {
		return err
	}
	if err := s.Check(s.ctx); err != nil {
		var p *service.Problem
		if errors.As(err, &p) {
			s.note("here it would fail: %s", p.Message)
			s.hint("%s", p.Hint)
		}
	}
	if s.json {
		return s.planJSON(steps)
	}
	if len(steps) == 0 {
		fmt.Fprintln(s.stdout, "nothing to do")
	}
	for _, step := range steps {
		if step.Write == nil || step.Write.From != "" {
			fmt.Fprintln(s.stdout, redact.Printable(step.String()))
			continue
		}
		fmt.Fprintf(s.stdout, "%s:\n", redact.Printable(step.String()))
		for line := range strings.Lines(step.Write.Text()) {
			fmt.Fprint(s.stdout, strings.TrimRight("    "+line, "\n"), "\n")
		}
	}
	return nil
}

func (s *services) planJSON(steps []service.Step) error {
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
	return s.encode(struct {
		Steps []planned `json:"steps"`
	}{list})
}

func (a *app) encode(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// stranger meets a daemon that no manager runs; the client is nil where there is none.
func (s *services) stranger() (*rpc.Client, rpc.Info, error) {
	st, err := s.Status(s.ctx, s.config)
	if err != nil || st.Socket.Listening || st.Running && st.PID == 0 {
		return nil, rpc.Info{}, err // who answers on the manager's socket is the manager's
	}
	c, info, err := s.meet(s.ctx, nil)
	switch {
	case rpc.KindOf(err) == rpc.KindUnreachable:
		return nil, info, nil
	case err == nil && info.PID == st.PID:
		c.Close()
		return nil, info, nil
	}
	return c, info, err
}

// handOver makes place for the service: it stops a daemon that no manager runs. What that one has leased stays leased.
func (s *services) handOver() error {
	c, info, err := s.stranger()
	if err != nil || c == nil {
		return err
	}
	defer c.Close()
	s.note("stop the daemon (pid %d) that no service runs; environments in use stay in use", info.PID)
	_, err = s.shutdown(c, info)
	return err
}

// planStart is plan for steps before which a daemon that no manager runs is stopped.
func (s *services) planStart(steps []service.Step, err error) error {
	if c, _, err := s.stranger(); err == nil && c != nil {
		c.Close()
		steps = append([]service.Step{{Run: []string{"runt", "daemon", "stop"}}}, steps...)
	}
	return s.plan(steps, err)
}

// answers waits until the service's daemon does.
func (s *services) answers() (rpc.Info, error) {
	ctx, cancel := context.WithTimeout(s.ctx, startTime)
	defer cancel()
	if _, err := s.untilItAnswers(ctx, nil, 0); err != nil {
		if err == errEnded {
			err = failure.New("the service's daemon did not answer within %s", startTime)
		}
		return rpc.Info{}, s.withLog(err)
	}
	c, info, err := s.meet(s.ctx, nil)
	if err != nil {
		return info, s.withLog(err)
	}
	c.Close()
	st, err := s.Status(s.ctx, s.config)
	if err == nil && st.PID != 0 && st.PID != info.PID {
		return info, failure.New("another daemon answers (pid %d), not the service's (pid %d)", info.PID, st.PID).
			WithHint("stop it with: runt daemon stop; then: runt service start")
	}
	return info, err
}

// withLog has the daemon itself say why it does not run.
func (s *services) withLog(err error) error {
	f := failure.Of(err)
	if said := s.said(s.Manager, s.began); said != "" {
		f.Quote(rpc.Name, said)
	}
	return f.OrHint("look further with: runt daemon logs")
}

// said are the daemon's last lines, each once: a daemon that fails is started several times.
func (a *app) said(m service.Manager, since time.Time) string {
	text := m.Said(a.ctx, since)
	if path, err := a.logFile(); text == "" && err == nil {
		text = logview.Recent(path, since, 10)
	}
	var lines []string
	for line := range strings.Lines(text) {
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}
