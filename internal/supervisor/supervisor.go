// Package supervisor talks to the service manager that started this process: systemd or launchd.
package supervisor

import (
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"

	"runtimed/rpc"
)

// launchdLabel is the name of our launchd agent.
const launchdLabel = "io.runtimed"

// Supervisor is what whoever started this process passed to it.
type Supervisor struct {
	StartedBy string        // one of rpc's constants
	Watchdog  time.Duration // it ends us when it hears nothing for so long; 0: it does not

	sockets []*os.File
	listens bool // to how we are
}

// Read reads what a service manager passed to this process, and takes it out of what children get. The same variables
// may be inherited from a terminal or a service that started us: those count for nothing. auto: a command started us.
func Read(auto bool) (*Supervisor, error) {
	s := &Supervisor{StartedBy: rpc.StartedByHand, sockets: activation.Files(true)}
	watchdog, err := daemon.SdWatchdogEnabled(true)
	notify := os.Getenv("NOTIFY_SOCKET") != ""
	invoked := os.Getenv("SYSTEMD_EXEC_PID") // systemd before 248 does not tell whom it started
	ours := invoked == strconv.Itoa(os.Getpid()) || invoked == "" && notify
	launchd := runtime.GOOS == "darwin" && os.Getenv("XPC_SERVICE_NAME") == launchdLabel
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
	s.listens, s.Watchdog = notify, watchdog
	return s, err
}
