package main

import (
	"time"

	"runtimed/internal/failure"
	"runtimed/rpc"
	"runtimed/service"
)

// What `runt daemon start|stop|restart` do where a service is installed for this shell's socket. Each tells whether that was
// all there is to do.

// through is a service with what is needed to look at it and to change it.
func (d *control) through(m service.Manager) (*services, service.Status, error) {
	socket, err := d.socket()
	if err != nil {
		return nil, service.Status{}, err
	}
	s := &services{control: d, Manager: m, began: time.Now(), config: service.Config{Socket: socket}}
	st, err := m.Status(d.ctx, s.config)
	return s, st, err
}

// startService leaves a daemon alone that answers already, whoever started it.
func (d *control) startService(m service.Manager) (bool, error) {
	s, st, err := d.through(m)
	if err != nil || st.Running {
		return false, err
	}
	if !st.Socket.Listening { // on a socket of the manager's nobody else can be
		c, info, err := d.meet(d.ctx, nil)
		if err == nil {
			c.Close()
		}
		if rpc.KindOf(err) != rpc.KindUnreachable && !(err == nil && info.StartedBy == rpc.StartedByCommand) {
			return false, nil
		}
		if err := s.handOver(); err != nil {
			return false, err
		}
	}
	if err := s.do(s.Start(d.ctx)); err != nil {
		return false, err
	}
	if _, err := s.answers(); err != nil {
		return false, err
	}
	return true, nil
}

func (d *control) stopService(m service.Manager) (stopped *service.Status, err error) {
	s, st, err := d.through(m)
	if err != nil || !st.Running && !st.Socket.Listening {
		return nil, err
	}
	return &st, s.do(s.Stop(d.ctx))
}

func (d *control) restartService(m service.Manager) (bool, error) {
	s, st, err := d.through(m)
	if err != nil || !st.Running && !st.Socket.Listening {
		return false, err
	}
	if err := s.startsAgain(st); err != nil {
		return false, err
	}
	if err := s.do(s.Restart(d.ctx)); err != nil {
		return false, err
	}
	info, err := s.answers()
	if err != nil {
		return false, err
	}
	if info.Protocol < rpc.Protocol {
		return false, failure.With(failure.OtherVersion, "the service starts a daemon of version %s (protocol %d), and this runt needs protocol %d", info.Version, info.Protocol, rpc.Protocol).
			WithHint("have the service start this version: runt service install")
	}
	return true, nil
}

// startsAgain is checked before a daemon that works is stopped.
func (s *services) startsAgain(st service.Status) error {
	if !st.Running {
		return nil
	}
	c, info, err := s.meet(s.ctx, nil)
	if err != nil {
		return nil // it may hang, which is a reason to restart it
	}
	c.Close()
	if _, err := s.likeBefore(info); err != nil {
		return err
	}
	return locks(info)
}
