package daemon

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"runtimed/internal/failure"
	"runtimed/internal/logview"
	"runtimed/rpc"
	"runtimed/service"
)

// Service is the service of this user, as this shell would install it.
type Service struct {
	*Control
	service.Manager
	Config     service.Config
	CopyReason string // why the programs are copied; empty: they are not
	Incomplete error  // why Config has nothing but the socket; nil: it has all
	began      time.Time
}

// Service returns an error if this system has no service manager that runt knows.
func (d *Control) Service() (*Service, error) {
	s, err := d.manager()
	if err == nil {
		s.Incomplete = s.complete()
	}
	return s, err
}

func (d *Control) manager() (*Service, error) {
	m, err := service.New(runtime.GOOS, d.Env, service.Commands{})
	if err != nil {
		return nil, err
	}
	socket, err := d.Socket()
	if err != nil {
		return nil, err
	}
	return &Service{Control: d, Manager: m, Config: service.Config{Socket: socket}, began: time.Now()}, nil
}

func (s *Service) complete() error {
	log, err := s.LogFile()
	if err != nil {
		return err
	}
	found, err := Program()
	if err != nil {
		return err
	}
	s.Config.Log, s.Config.Vars = log, service.Variables(s.Env)
	s.Config.Program, s.Config.Copies, s.CopyReason = service.Settle(found, s.namesOf(filepath.Base(found)), s.Env)
	return nil
}

// Managed returns the service if one is installed for this shell's socket and its manager can be used from here, else
// nil.
func (d *Control) Managed() *Service { return d.managed(d.Ctx) }

func (d *Control) managed(ctx context.Context) *Service {
	s, err := d.manager()
	if err != nil || !s.Serves(s.Config.Socket) || s.Check(ctx) != nil {
		return nil
	}
	return s
}

// Do takes steps and says so. If a command of the manager fails, the error has the daemon's own last words.
func (s *Service) Do(steps []service.Step, err error) error {
	if err != nil {
		return err
	}
	err = service.Do(s.Ctx, service.Commands{}, steps, func(step service.Step) { s.Note("%s", step) })
	if _, ok := errors.AsType[*service.Problem](err); ok {
		return s.withLog(err)
	}
	_, path := errors.AsType[*fs.PathError](err)
	_, link := errors.AsType[*os.LinkError](err)
	if path || link {
		return failure.New("%v", err).
			WithHint("the place must be yours and writable, and its disk not full; then do it again")
	}
	return err
}

// Unmanaged meets a daemon that no manager runs. The client is nil if there is none.
func (s *Service) Unmanaged() (*rpc.Client, rpc.Info, error) {
	st, err := s.Status(s.Ctx, s.Config)
	if err != nil || st.Socket.Listening || st.Running && st.PID == 0 {
		return nil, rpc.Info{}, err // whoever answers on the manager's socket is the manager's
	}
	c, info, err := s.Dial(s.Ctx, nil)
	switch {
	case rpc.KindOf(err) == rpc.KindUnreachable:
		return nil, info, nil
	case err == nil && info.PID == st.PID:
		c.Close()
		return nil, info, nil
	}
	return c, info, err
}

// StopUnmanaged makes room for the service's daemon. What the other one has leased stays leased.
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

// WaitForDaemon waits until the service's daemon answers.
func (s *Service) WaitForDaemon() (rpc.Info, error) {
	ctx, cancel := context.WithTimeout(s.Ctx, startTime)
	defer cancel()
	info, err := s.waitForAnswer(ctx, nil, 0)
	if err == errNoAnswer {
		err = failure.New("the service's daemon did not answer within %s", startTime)
	}
	if err != nil {
		return info, s.withLog(err)
	}
	st, err := s.Status(s.Ctx, s.Config)
	if err == nil && st.PID != 0 && st.PID != info.PID {
		return info, failure.New("another daemon answers (pid %d), not the service's (pid %d)", info.PID, st.PID).
			WithHint("stop it with: runt daemon stop; then: runt service start")
	}
	return info, err
}

func (s *Service) withLog(err error) error {
	return s.quoteDaemon(failure.Of(err), "look further with: runt daemon logs")
}

// quoteDaemon adds the daemon's last lines, each once: a daemon that fails is started several times.
func (s *Service) quoteDaemon(f *failure.Error, hint string) error {
	text := s.Said(s.Ctx, s.began)
	if path, err := s.LogFile(); text == "" && err == nil {
		text = logview.Recent(path, s.began, 10)
	}
	var lines strings.Builder
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		if !seen[line] {
			seen[line] = true
			lines.WriteString(line)
		}
	}
	if lines.Len() > 0 {
		f.Quote(rpc.Name, lines.String())
	}
	return f.OrHint(hint)
}

// StartDaemon starts the service, unless a daemon answers already, whoever started it. Like StopDaemon and
// RestartDaemon it reports whether the service had anything to do with it.
func (s *Service) StartDaemon() (done bool, err error) {
	st, err := s.Status(s.Ctx, s.Config)
	if err != nil || st.Running {
		return false, err
	}
	if !st.Socket.Listening { // nobody else can be on a socket of the manager's
		info, err := s.Info(s.Ctx)
		if rpc.KindOf(err) != rpc.KindUnreachable && !(err == nil && info.StartedBy == rpc.StartedByCommand) {
			return false, nil
		}
		if err := s.StopUnmanaged(); err != nil {
			return false, err
		}
	}
	if err := s.Do(s.Start(s.Ctx)); err != nil {
		return false, err
	}
	_, err = s.WaitForDaemon()
	return err == nil, err
}

// StopDaemon also returns what there was of the service.
func (s *Service) StopDaemon() (done bool, before service.Status, err error) {
	before, err = s.Status(s.Ctx, s.Config)
	if err != nil || !before.Running && !before.Socket.Listening {
		return false, before, err
	}
	return true, before, s.Do(s.Stop(s.Ctx))
}

// RestartDaemon does nothing if the service does not run.
func (s *Service) RestartDaemon() (done bool, err error) {
	st, err := s.Status(s.Ctx, s.Config)
	if err != nil || !st.Running && !st.Socket.Listening {
		return false, err
	}
	if err := s.CheckRestart(st); err != nil {
		return false, err
	}
	if err := s.Do(s.Restart(s.Ctx)); err != nil {
		return false, err
	}
	info, err := s.WaitForDaemon()
	if err == nil && info.Protocol < rpc.Protocol {
		err = failure.With(failure.OtherVersion,
			"the service starts a daemon of version %s (protocol %d), and this runt needs protocol %d",
			info.Version, info.Protocol, rpc.Protocol).
			WithHint("have the service start this version: runt service install")
	}
	return err == nil, err
}

// CheckRestart refuses to stop a daemon that works if the next one could not start.
func (s *Service) CheckRestart(st service.Status) error {
	if !st.Running {
		return nil
	}
	info, err := s.Info(s.Ctx)
	if err != nil {
		return nil // it may hang, which is a reason to restart it
	}
	if _, err := s.sameSettings(info); err != nil {
		return err
	}
	return checkLockable(info)
}
