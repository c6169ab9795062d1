package main

import (
	"fmt"
	"io"

	"runtimed/service"
)

// writeService tells a status in words.
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
	if s.Installed && s.UpToDate {
		installed += ", up to date"
	}
	fmt.Fprintf(w, "Manager:    %s\nInstalled:  %s\nEnabled:    %s\nRunning:    %s\n", s.Manager, installed, enabled, running)
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
