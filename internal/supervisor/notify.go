package supervisor

import (
	"strings"
	"sync"

	"github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"
)

// Notifier tells the service manager how the daemon is. Where none listens it does nothing.
type Notifier struct {
	log *zap.Logger

	mu     sync.Mutex
	on     bool   // somebody listens, and we are not stopping
	up     bool   // the socket answers
	status string // the last line
	failed bool   // it could not be told, and that was logged
}

// Notifier tells s.
func (s *Supervisor) Notifier(log *zap.Logger) *Notifier { return &Notifier{log: log, on: s.listens} }

// On says whether somebody listens.
func (n *Notifier) On() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.on
}

// Ready tells that the socket answers.
func (n *Notifier) Ready() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.up = true
	n.sendLocked(daemon.SdNotifyReady, "STATUS=looking through the environments")
}

// Reloading tells that the configuration is being read, and done, that this is over.
func (n *Notifier) Reloading() (done func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.up { // the end of the reload would look like that of the start
		return func() {}
	}
	n.sendLocked(daemon.SdNotifyReloading, strings.TrimSpace(daemon.SdNotifyMonotonicUsec()))
	return func() { n.send(daemon.SdNotifyReady) }
}

// Alive feeds the watchdog.
func (n *Notifier) Alive() { n.send(daemon.SdNotifyWatchdog) }

// Stopping is the last message.
func (n *Notifier) Stopping() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sendLocked(daemon.SdNotifyStopping, "STATUS=stopping")
	n.on = false
}

// Status is what the manager shows of the daemon.
func (n *Notifier) Status(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if line != n.status {
		n.status = line
		n.sendLocked("STATUS=" + line)
	}
}

func (n *Notifier) send(lines ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sendLocked(lines...)
}

func (n *Notifier) sendLocked(lines ...string) {
	if !n.on {
		return
	}
	_, err := daemon.SdNotify(false, strings.Join(lines, "\n"))
	if err != nil && !n.failed {
		n.log.Warn("the service manager cannot be told how the daemon is", zap.Error(err))
	}
	n.failed = err != nil
}
