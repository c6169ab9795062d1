package main

import (
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	systemd "github.com/coreos/go-systemd/v22/daemon"

	"runtimed/rpc"
)

// launchdLabel is the name of our launchd agent.
const launchdLabel = "io.runtimed"

// managed is what whoever started the daemon told it.
type managed struct {
	by       string        // one of rpc's StartedBy
	sockets  []*os.File    // that a service manager has opened
	notify   bool          // it wants to hear how we are
	watchdog time.Duration // it ends us when it hears nothing for so long; 0: it does not
}

// manager reads what a service manager passed to this process, and takes it out of what children get. The same
// variables may be another's, inherited from a terminal or a service that started us: those count for nothing.
func manager(auto bool) (managed, error) {
	m := managed{by: rpc.StartedByHand, sockets: activation.Files(true)}
	watchdog, err := systemd.SdWatchdogEnabled(true)
	invoked := os.Getenv("SYSTEMD_EXEC_PID") // systemd before 248 does not tell whom it started
	ours := invoked == strconv.Itoa(pid) || invoked == "" && os.Getenv("NOTIFY_SOCKET") != ""
	switch {
	case len(m.sockets) > 0:
		ours, m.by = true, rpc.StartedByService
	case auto:
		ours, m.by = false, rpc.StartedByCommand
	case ours && os.Getenv("INVOCATION_ID") != "", runtime.GOOS == "darwin" &&
		os.Getenv("XPC_SERVICE_NAME") == launchdLabel:
		m.by = rpc.StartedByService
	}
	if !ours {
		return m, os.Unsetenv("NOTIFY_SOCKET")
	}
	m.notify, m.watchdog = os.Getenv("NOTIFY_SOCKET") != "", watchdog
	return m, err
}
