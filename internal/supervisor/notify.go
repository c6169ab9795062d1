package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"

	"runtimed/pool"
)

// statusInterval is the shortest time between two lines that tell a service manager of the pools.
const statusInterval = time.Second

// notifier tells a service manager how the daemon is. Where none listens it does nothing.
type notifier struct {
	log *zap.Logger

	mu     sync.Mutex
	on     bool   // somebody listens, and we are not stopping
	up     bool   // the socket answers
	shown  string // the line about the pools
	failed bool   // it could not be told, and that was said
}

// ready tells that the socket answers.
func (n *notifier) ready() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.up = true
	n.send(systemd.SdNotifyReady, "STATUS=looking through the environments")
}

// reloading tells that the configuration is being read; what it returns, that this is over.
func (n *notifier) reloading() (done func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.up { // the end of the reload would look like that of the start
		return func() {}
	}
	n.send(systemd.SdNotifyReloading, strings.TrimSpace(systemd.SdNotifyMonotonicUsec()))
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.send(systemd.SdNotifyReady)
	}
}

// alive feeds the watchdog.
func (n *notifier) alive() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.send(systemd.SdNotifyWatchdog)
}

// stopping is the last word.
func (n *notifier) stopping() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.send(systemd.SdNotifyStopping, "STATUS=stopping")
	n.on = false
}

// pools shows line to who asks the manager, unless it is shown already.
func (n *notifier) pools(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if line != n.shown {
		n.shown = line
		n.send("STATUS=" + line)
	}
}

// send sends one message. Callers hold mu.
func (n *notifier) send(lines ...string) {
	if !n.on {
		return
	}
	_, err := systemd.SdNotify(false, strings.Join(lines, "\n"))
	if err != nil && !n.failed {
		n.log.Warn("the service manager cannot be told how the daemon is", zap.Error(err))
	}
	n.failed = err != nil
}

// follow keeps the line about the pools current until ctx ends or the pools are closed.
func (n *notifier) follow(ctx context.Context, p *pools) {
	n.mu.Lock()
	on := n.on
	n.mu.Unlock()
	if !on {
		return
	}
	list, err := p.Watch(ctx, statusInterval, func(pool.Status, bool) bool {
		if now, err := p.Status(ctx, ""); err == nil { // one line tells of all pools
			n.pools(statusLine(now))
		}
		return true
	})
	if err == nil { // else it stops
		n.pools(statusLine(list))
	}
}

// statusLine is like "uv: 2 of 3 ready, 1 warming, 1 leased; conda: off".
func statusLine(list []pool.Status) string {
	var told []string
	for _, s := range list {
		line := s.Name + ": off"
		if s.State != "off" {
			line = fmt.Sprintf("%s: %d of %d ready", s.Name, s.Available, s.Target)
		}
		for _, c := range []struct {
			n    int
			what string
		}{{s.Warming, "warming"}, {s.Leased, "leased"}, {s.Waiting, "waiting"}} {
			if c.n > 0 {
				line += fmt.Sprintf(", %d %s", c.n, c.what)
			}
		}
		if s.Error != nil {
			line += ", builds fail (" + s.Error.Cause + ")"
		}
		told = append(told, line)
	}
	return strings.Join(told, "; ")
}
