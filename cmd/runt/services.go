package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"runtimed/internal/failure"
	"runtimed/internal/logview"
	"runtimed/rpc"
	"runtimed/service"
)

// services is what the commands of `runt service` share.
type services struct {
	*control
	service.Manager
	config service.Config
	why    string    // the programs are copied
	began  time.Time // what was said before is of no interest
}

func (d *control) manager() (service.Manager, error) {
	return service.New(runtime.GOOS, d.env, service.Commands{})
}

// services works out what would be installed from this shell.
func (d *control) services(onDemand bool) (*services, error) {
	m, err := d.manager()
	if err != nil {
		return nil, err
	}
	socket, err := d.socket()
	if err != nil {
		return nil, err
	}
	log, err := d.logFile()
	if err != nil {
		return nil, err
	}
	found, err := daemonProgram()
	if err != nil {
		return nil, err
	}
	s := &services{control: d, Manager: m, began: time.Now()}
	s.config = service.Config{
		Socket: socket, Log: log, Vars: service.Variables(d.env), OnDemand: onDemand,
	}
	s.config.Program, s.config.Copies, s.why = service.Settle(found, d.namesOf(filepath.Base(found)), d.env)
	return s, nil
}

// servicesAnyway is services for what works without the daemon's program.
func (d *control) servicesAnyway() (*services, error) {
	s, err := d.services(false)
	if err == nil {
		return s, nil
	}
	m, merr := d.manager()
	socket, serr := d.socket()
	if merr != nil || serr != nil {
		return nil, err
	}
	return &services{control: d, Manager: m, config: service.Config{Socket: socket}}, nil
}

// managed is the manager of a service that listens where this shell's clients connect. It is nil where none is installed or the
// manager cannot be used from here: then all is as without one.
func (d *control) managed() service.Manager {
	m, err := d.manager()
	if err != nil {
		return nil
	}
	path, err := d.socket()
	if err != nil || !m.Serves(path) || m.Check(d.ctx) != nil {
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
func (d *control) said(m service.Manager, since time.Time) string {
	text := m.Said(d.ctx, since)
	if path, err := d.logFile(); text == "" && err == nil {
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
