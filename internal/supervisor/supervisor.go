// Package supervisor talks to the service manager that started this process, systemd or launchd.
package supervisor

import (
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"

	"runtimed/internal/statedir"
	"runtimed/rpc"
)

// Supervisor is what the parent passed to this process.
type Supervisor struct {
	StartedBy string        // one of rpc's constants
	Watchdog  time.Duration // the longest silence before it kills us; 0: no watchdog

	Listens bool // to what a [Notifier] tells

	OnDemand bool // somebody starts it again when it is needed, so that it may end when it is not

	sockets []*os.File
}

// Read reads what a service manager passed, and hides it from children. Variables inherited from another service or a
// terminal do not count. auto: a command started us, or a unit whose socket does when somebody connects.
func Read(auto bool) (*Supervisor, error) {
	s := &Supervisor{StartedBy: rpc.StartedByHand, OnDemand: auto, sockets: activation.Files(true)}
	watchdog, err := daemon.SdWatchdogEnabled(true)
	notify := os.Getenv("NOTIFY_SOCKET") != ""
	invoked := os.Getenv("SYSTEMD_EXEC_PID") // missing before systemd 248
	ours := invoked == strconv.Itoa(os.Getpid()) || invoked == "" && notify
	launchd := runtime.GOOS == "darwin" && os.Getenv("XPC_SERVICE_NAME") == statedir.LaunchdLabel
	switch {
	case len(s.sockets) > 0:
		ours, s.StartedBy = true, rpc.StartedByService
	case auto:
		ours, s.StartedBy = false, rpc.StartedByCommand
	case ours && os.Getenv("INVOCATION_ID") != "", launchd:
		s.StartedBy = rpc.StartedByService
	}
	if !ours {
		return s, os.Unsetenv("NOTIFY_SOCKET")
	}
	s.Listens, s.Watchdog = notify, watchdog
	return s, err
}
