package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"runtimed/service"
)

func TestTheStatusOfAService(t *testing.T) {
	off, on := false, true
	for _, c := range []struct {
		what string
		s    service.Status
		want string
	}{
		{"all is well", service.Status{
			Manager: "systemd", Installed: true, Enabled: true, Running: true, PID: 12, UpToDate: true, Linger: &on,
			Socket: service.SocketStatus{Installed: true, Listening: true},
		}, `
Manager:    systemd
Installed:  yes, up to date
Enabled:    yes: the daemon starts at login
Running:    yes, pid 12
Listening:  yes
Linger:     yes: it goes on after logout
`},
		{"the manager cannot be asked", service.Status{
			Manager: "systemd", Installed: true, Enabled: true, OnDemand: true, Linger: &off,
			Trouble: &service.Problem{},
			Socket:  service.SocketStatus{Installed: true},
		}, `
Manager:    systemd
Installed:  yes
Enabled:    on demand: the daemon starts when somebody first asks
Running:    unknown
Listening:  unknown
Linger:     no: it ends when you log out for good (loginctl enable-linger)
`},
		{"nothing is there", service.Status{Manager: "launchd"}, `
Manager:    launchd
Installed:  no
Enabled:    no
Running:    no
`},
	} {
		var b strings.Builder
		writeService(&b, c.s)
		if diff := cmp.Diff(c.want[1:], b.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.what, diff)
		}
	}
}
