package daemon

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

// Service is what the commands of `runt service` share.
type Service struct {
	*Control
	service.Manager
	Config     service.Config
	CopyReason string    // the programs are copied
	began      time.Time // what was said before is of no interest
}

func (d *Control) newManager() (service.Manager, error) {
	return service.New(runtime.GOOS, d.Env, service.Commands{})
}

// NewService works out what would be installed from this shell.
func (d *Control) NewService(onDemand bool) (*Service, error) {
	m, err := d.newManager()
	if err != nil {
		return nil, err
	}
	socket, err := d.socket()
	if err != nil {
		return nil, err
	}
	log, err := d.LogFile()
	if err != nil {
		return nil, err
	}
	found, err := Program()
	if err != nil {
		return nil, err
	}
	s := &Service{Control: d, Manager: m, began: time.Now()}
	s.Config = service.Config{
		Socket: socket, Log: log, Vars: service.Variables(d.Env), OnDemand: onDemand,
	}
	s.Config.Program, s.Config.Copies, s.CopyReason = service.Settle(found, d.namesOf(filepath.Base(found)), d.Env)
	return s, nil
}

// LookUpService is services for what works without the daemon's program.
func (d *Control) LookUpService() (*Service, error) {
	s, err := d.NewService(false)
	if err == nil {
		return s, nil
	}
	m, merr := d.newManager()
	socket, serr := d.socket()
	if merr != nil || serr != nil {
		return nil, err
	}
	return &Service{Control: d, Manager: m, Config: service.Config{Socket: socket}}, nil
}

// Managed is the manager of a service that listens where this shell's clients connect. It is nil where none is installed or the
// manager cannot be used from here: then all is as without one.
func (d *Control) Managed() service.Manager {
	m, err := d.newManager()
	if err != nil {
		return nil
	}
	path, err := d.socket()
	if err != nil || !m.Serves(path) || m.Check(d.Ctx) != nil {
		return nil
	}
	return m
}

// Do takes steps and says so. Where a command of the manager fails, it has the daemon say why.
func (s *Service) Do(steps []service.Step, err error) error {
	if err != nil {
		return err
	}
	err = service.Do(s.Ctx, service.Commands{}, steps, func(step service.Step) { s.Note("%s", step) })
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

// Unmanaged meets a daemon that no manager runs; the client is nil where there is none.
func (s *Service) Unmanaged() (*rpc.Client, rpc.Info, error) {
	st, err := s.Status(s.Ctx, s.Config)
	if err != nil || st.Socket.Listening || st.Running && st.PID == 0 {
		return nil, rpc.Info{}, err // who answers on the manager's socket is the manager's
	}
	c, info, err := s.Meet(s.Ctx, nil)
	switch {
	case rpc.KindOf(err) == rpc.KindUnreachable:
		return nil, info, nil
	case err == nil && info.PID == st.PID:
		c.Close()
		return nil, info, nil
	}
	return c, info, err
}

// StopUnmanaged makes place for the service: it stops a daemon that no manager runs. What that one has leased stays leased.
func (s *Service) StopUnmanaged() error {
	c, info, err := s.Unmanaged()
	if err != nil || c == nil {
		return err
	}
	defer c.Close()
	s.Note("stop the daemon (pid %d) that no service runs; environments in use stay in use", info.PID)
	_, err = s.Shutdown(c, info)
	return err
}

// WaitForDaemon waits until the service's daemon does.
func (s *Service) WaitForDaemon() (rpc.Info, error) {
	ctx, cancel := context.WithTimeout(s.Ctx, startTime)
	defer cancel()
	if _, err := s.waitForAnswer(ctx, nil, 0); err != nil {
		if err == errNoAnswer {
			err = failure.New("the service's daemon did not answer within %s", startTime)
		}
		return rpc.Info{}, s.withLog(err)
	}
	c, info, err := s.Meet(s.Ctx, nil)
	if err != nil {
		return info, s.withLog(err)
	}
	c.Close()
	st, err := s.Status(s.Ctx, s.Config)
	if err == nil && st.PID != 0 && st.PID != info.PID {
		return info, failure.New("another daemon answers (pid %d), not the service's (pid %d)", info.PID, st.PID).
			WithHint("stop it with: runt daemon stop; then: runt service start")
	}
	return info, err
}

// withLog has the daemon itself say why it does not run.
func (s *Service) withLog(err error) error {
	f := failure.Of(err)
	if said := s.lastWords(s.Manager, s.began); said != "" {
		f.Quote(rpc.Name, said)
	}
	return f.OrHint("look further with: runt daemon logs")
}

// lastWords are the daemon's last lines, each once: a daemon that fails is started several times.
func (d *Control) lastWords(m service.Manager, since time.Time) string {
	text := m.Said(d.Ctx, since)
	if path, err := d.LogFile(); text == "" && err == nil {
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
