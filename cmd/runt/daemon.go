package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"runtimed/rpc"
)

type daemonCmd struct {
	Info   daemonInfoCmd   `cmd:"" help:"Print who answers on the socket."`
	Start  daemonStartCmd  `cmd:"" help:"Start the daemon in the background, unless it runs."`
	Stop   daemonStopCmd   `cmd:"" help:"Stop the daemon, if it runs. Environments in use stay in use."`
	Logs   daemonLogsCmd   `cmd:"" help:"Print the daemon's log."`
	Reload daemonReloadCmd `cmd:"" help:"Have the daemon read its configuration again."`
}

type daemonInfoCmd struct{}

func (daemonInfoCmd) Run(a *app) error {
	return ask(a, rpc.MethodInfo, nil, func(i rpc.Info) {
		uptime := time.Duration(i.UptimeMS) * time.Millisecond
		fmt.Fprintf(a.stdout, "Version:  %s (protocol %d)\nPID:      %d\nStarted:  %s (%s ago)\nSocket:   %s\nState:    %s\nConfig:   %s\n",
			i.Version, i.Protocol, i.PID, i.StartedAt.Local().Format("2006-01-02 15:04:05"), age(uptime), i.Socket, i.StateDir, i.ConfigPath)
	})
}

type daemonStartCmd struct {
	Auto bool `hidden:"" help:"On behalf of a command that needs an environment: it ends by itself when nobody needs it."`
}

func (c *daemonStartCmd) Run(a *app) error {
	done := "started"
	switch client, _, err := a.connect(nil); {
	case err == nil:
		client.Close()
		done = "already running"
	case rpc.KindOf(err) != rpc.KindUnreachable:
		return err
	default:
		if err := a.start(c.Auto); err != nil {
			return err
		}
	}
	return ask(a, rpc.MethodInfo, nil, func(i rpc.Info) {
		fmt.Fprintf(a.stdout, "%s: pid %d, socket %s\n", done, i.PID, i.Socket)
	})
}

// stopTime is what the daemon has for its own stop, and a little more.
const stopTime = 6 * time.Second

type daemonStopCmd struct{}

// A daemon of any version can be stopped: that is how one makes place for another.
func (daemonStopCmd) Run(a *app) error {
	c, info, err := a.meet(a.ctx, nil)
	if rpc.KindOf(err) == rpc.KindUnreachable {
		if a.json {
			a.printJSON(json.RawMessage("{}"))
		} else {
			fmt.Fprintln(a.stdout, "not running")
		}
		return nil
	}
	if err != nil {
		return err
	}
	raw, err := a.call(c, rpc.MethodShutdown, rpc.None{}, 0)
	c.Close()
	if err != nil && rpc.KindOf(err) != rpc.KindShuttingDown {
		return err
	}
	for deadline := time.Now().Add(stopTime); ; {
		other, now, err := a.meet(a.ctx, nil)
		if err == nil {
			other.Close()
		}
		gone := rpc.KindOf(err) == rpc.KindUnreachable || err == nil && now.PID != info.PID
		if gone && !alive(info.PID) { // until then it holds its locks, and another could not start
			break
		}
		if time.Now().After(deadline) {
			return failed("the daemon (pid %d) still runs %s after it was asked to stop", info.PID, stopTime).
				withHint("see what it does with: runt daemon logs")
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-a.ctx.Done():
			return a.ctx.Err()
		}
	}
	if raw == nil {
		raw = json.RawMessage("{}")
	}
	return answer(a, raw, func(rpc.None) { fmt.Fprintf(a.stdout, "stopped: pid %d\n", info.PID) })
}

type daemonReloadCmd struct{}

func (daemonReloadCmd) Run(a *app) error {
	return ask(a, rpc.MethodReload, nil, func(r rpc.ReloadResult) {
		if len(r.Changed) == 0 {
			fmt.Fprintln(a.stdout, "no pool has changed")
			return
		}
		fmt.Fprintln(a.stdout, "changed:", printable(strings.Join(r.Changed, ", ")))
	})
}
