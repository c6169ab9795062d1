package supervisor

import (
	"strings"
	"sync"

	"github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"
)

// Notifier tells the service manager the daemon's state, if it listens.
type Notifier struct {
	log *zap.Logger

	mu     sync.Mutex
	on     bool
	up     bool // Ready was called
	status string
	failed bool // and logged
}

// Notifier returns a notifier for s.
func (s *Supervisor) Notifier(log *zap.Logger) *Notifier { return &Notifier{log: log, on: s.Listens} }

// Ready says that the socket answers.
func (n *Notifier) Ready() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.up = true
	n.sendLocked(daemon.SdNotifyReady, "STATUS=reading the environments on disk")
}

// Reloading says that the configuration is being read until done is called.
func (n *Notifier) Reloading() (done func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.up { // the manager would take done for the end of the start
		return func() {}
	}
	n.sendLocked(daemon.SdNotifyReloading, strings.TrimSpace(daemon.SdNotifyMonotonicUsec()))
	return func() { n.send(daemon.SdNotifyReady) }
}

// Alive feeds the watchdog.
func (n *Notifier) Alive() { n.send(daemon.SdNotifyWatchdog) }

// Stopping sends the last message.
func (n *Notifier) Stopping() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sendLocked(daemon.SdNotifyStopping, "STATUS=stopping")
	n.on = false
}

// Status sets the line that the manager shows.
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
