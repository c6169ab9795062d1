package daemon

import (
	"time"

	"runtimed/internal/failure"
	"runtimed/rpc"
	"runtimed/service"
)

// What `runt daemon start|stop|restart` do where a service is installed for this shell's socket. Each tells whether that was
// all there is to do.

// through is a service with what is needed to look at it and to change it.
func (d *Control) through(m service.Manager) (*Service, service.Status, error) {
	socket, err := d.socket()
	if err != nil {
		return nil, service.Status{}, err
	}
	s := &Service{Control: d, Manager: m, began: time.Now(), Config: service.Config{Socket: socket}}
	st, err := m.Status(d.Ctx, s.Config)
	return s, st, err
}

// StartService leaves a daemon alone that answers already, whoever started it.
func (d *Control) StartService(m service.Manager) (bool, error) {
	s, st, err := d.through(m)
	if err != nil || st.Running {
		return false, err
	}
	if !st.Socket.Listening { // on a socket of the manager's nobody else can be
		c, info, err := d.Meet(d.Ctx, nil)
		if err == nil {
			c.Close()
		}
		if rpc.KindOf(err) != rpc.KindUnreachable && !(err == nil && info.StartedBy == rpc.StartedByCommand) {
			return false, nil
		}
		if err := s.StopUnmanaged(); err != nil {
			return false, err
		}
	}
	if err := s.Do(s.Start(d.Ctx)); err != nil {
		return false, err
	}
	if _, err := s.WaitForDaemon(); err != nil {
		return false, err
	}
	return true, nil
}

func (d *Control) StopService(m service.Manager) (stopped *service.Status, err error) {
	s, st, err := d.through(m)
	if err != nil || !st.Running && !st.Socket.Listening {
		return nil, err
	}
	return &st, s.Do(s.Stop(d.Ctx))
}

func (d *Control) RestartService(m service.Manager) (bool, error) {
	s, st, err := d.through(m)
	if err != nil || !st.Running && !st.Socket.Listening {
		return false, err
	}
	if err := s.CheckRestart(st); err != nil {
		return false, err
	}
	if err := s.Do(s.Restart(d.Ctx)); err != nil {
		return false, err
	}
	info, err := s.WaitForDaemon()
	if err != nil {
		return false, err
	}
	if info.Protocol < rpc.Protocol {
		return false, failure.With(failure.OtherVersion, "the service starts a daemon of version %s (protocol %d), and this runt needs protocol %d", info.Version, info.Protocol, rpc.Protocol).
			WithHint("have the service start this version: runt service install")
	}
	return true, nil
}

// CheckRestart is checked before a daemon that works is stopped.
func (s *Service) CheckRestart(st service.Status) error {
	if !st.Running {
		return nil
	}
	c, info, err := s.Meet(s.Ctx, nil)
	if err != nil {
		return nil // it may hang, which is a reason to restart it
	}
	c.Close()
	if _, err := s.sameSettings(info); err != nil {
		return err
	}
	return checkLockable(info)
}
