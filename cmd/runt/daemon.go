package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"runtimed/config"
	"runtimed/internal/failure"
	"runtimed/internal/redact"
	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
	"runtimed/rpc"
)

type daemonCmd struct {
	Info   daemonInfoCmd     `cmd:"" help:"Print who answers on the socket."`
	Start  daemonStartCmd    `cmd:"" help:"Start the daemon in the background, unless it runs."`
	Stop   daemonStopCmd     `cmd:"" help:"Stop the daemon, if it runs. Environments in use stay in use."`
	Again  daemonRestartCmd  `cmd:"" name:"restart" help:"Start the daemon anew, as after an upgrade. Environments in use stay in use."`
	Logs   daemonLogsCmd     `cmd:"" help:"Print the daemon's log."`
	Level  daemonLogLevelCmd `cmd:"" name:"log-level" help:"Have the daemon log more, or less."`
	Reload daemonReloadCmd   `cmd:"" help:"Have the daemon read its configuration again."`
}

type daemonInfoCmd struct{}

func (daemonInfoCmd) Run(a *app) error {
	return ask(a, rpc.MethodInfo, nil, func(i rpc.Info) {
		uptime := time.Duration(i.UptimeMS) * time.Millisecond
		fmt.Fprintf(a.stdout, "Version:  %s (protocol %d)\nPID:      %d\nStarted:  %s (%s ago)\nSocket:   %s\nState:    %s\nConfig:   %s\n",
			redact.Printable(i.Version), i.Protocol, i.PID, i.StartedAt.Local().Format("2006-01-02 15:04:05"), age(uptime), redact.Printable(i.Socket), redact.Printable(i.StateDir), redact.Printable(i.ConfigPath))
	})
}

type daemonStartCmd struct {
	Auto bool `hidden:"" help:"On behalf of a command that needs an environment: it ends by itself when nobody needs it."`
}

func (c *daemonStartCmd) Run(a *app) error {
	if m := a.managed(); m != nil {
		if done, err := a.startService(m); done || err != nil {
			return err
		}
	}
	client, info, err := a.meet(a.ctx, nil)
	if rpc.KindOf(err) == rpc.KindUnreachable {
		if err := a.start(c.Auto); err != nil {
			return err
		}
		return a.tellDaemon("started")
	}
	if err != nil {
		return err
	}
	defer client.Close()
	switch {
	case info.Protocol != rpc.Protocol:
		return otherVersion(info)
	case info.StartedBy == rpc.StartedByCommand && !c.Auto: // it would end by itself, and now somebody wants it to stay
		return a.swap(client, info, true)
	}
	return a.tellDaemon("already running")
}

// tellDaemon says what was done, and prints who answers now.
func (a *app) tellDaemon(done string) error {
	return ask(a, rpc.MethodInfo, nil, func(i rpc.Info) {
		fmt.Fprintf(a.stdout, "%s: pid %d, socket %s\n", done, i.PID, redact.Printable(i.Socket))
	})
}

// stopTime is what the daemon has for its own stop, and a little more.
const stopTime = 6 * time.Second

type daemonStopCmd struct{}

// A daemon of any version can be stopped: that is how one makes place for another.
func (daemonStopCmd) Run(a *app) error {
	if m := a.managed(); m != nil { // a socket that is left would start it again
		if done, err := a.stopService(m); done || err != nil {
			return err
		}
	}
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
	pid := pidOf(c, info)
	raw, err := a.shutdown(c, info)
	if err != nil {
		return err
	}
	if info.StartedBy == rpc.StartedByService {
		a.hint("its service manager may start it again, and cannot be reached from here; in a session of your own: runt service stop")
	}
	return answer(a, raw, func(rpc.None) { fmt.Fprintf(a.stdout, "stopped: pid %s\n", pid) })
}

// pidOf is the daemon's number for people, and whether it is one of another PID namespace.
func pidOf(c *rpc.Client, info rpc.Info) string {
	pid := strconv.Itoa(info.PID)
	peer, err := c.Peer()
	switch {
	case err != nil || peer.PID == info.PID:
	case peer.PID == 0:
		pid += " in another PID namespace"
	case info.StartedBy != rpc.StartedByService: // whose manager has opened the socket
		pid += fmt.Sprintf(" in its PID namespace, %d in this one", peer.PID)
	}
	return pid
}

// shutdown ends a daemon and waits until it is gone. It closes c.
func (a *app) shutdown(c *rpc.Client, info rpc.Info) (json.RawMessage, error) {
	pid := pidOf(c, info)
	raw, err := a.call(c, rpc.MethodShutdown, rpc.None{}, 0)
	c.Close()
	if err != nil && rpc.KindOf(err) != rpc.KindShuttingDown {
		return nil, err
	}
	for deadline := time.Now().Add(stopTime); ; {
		other, now, err := a.meet(a.ctx, nil)
		if err == nil {
			other.Close()
		}
		// A number says nothing: it may be one of another PID namespace, or that of a process that ended and that nobody asks for.
		gone := rpc.KindOf(err) == rpc.KindUnreachable && !a.lockHeld() && !held(filepath.Join(info.StateDir, statedir.LockName))
		if gone || err == nil && !now.StartedAt.Equal(info.StartedAt) { // until then another could not start
			break
		}
		if time.Now().After(deadline) {
			return nil, failure.New("the daemon (pid %s) still runs %s after it was asked to stop", pid, stopTime).
				WithHint("see what it does with: runt daemon logs")
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-a.ctx.Done():
			return nil, a.ctx.Err()
		}
	}
	if raw == nil {
		raw = json.RawMessage("{}")
	}
	return raw, nil
}

type daemonRestartCmd struct{}

// A daemon of any version can be swapped for that of this runt.
func (daemonRestartCmd) Run(a *app) error {
	if m := a.managed(); m != nil {
		if done, err := a.restartService(m); done || err != nil {
			return err
		}
	}
	c, info, err := a.meet(a.ctx, nil)
	if rpc.KindOf(err) == rpc.KindUnreachable {
		return (&daemonStartCmd{}).Run(a)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	return a.swap(c, info, false)
}

// swap ends a daemon and starts another: one that stays, or one like the old.
func (a *app) swap(c *rpc.Client, info rpc.Info, stay bool) error {
	args, err := a.likeBefore(info)
	if err == nil {
		err = a.ownHome()
	}
	if err == nil {
		err = locks(info)
	}
	if err != nil {
		return err // while the old one still runs
	}
	if _, err := daemonProgram(); err != nil {
		return err
	}
	if _, err := a.shutdown(c, info); err != nil {
		return err
	}
	if err := a.start(info.StartedBy == rpc.StartedByCommand && !stay, args...); err != nil {
		return err
	}
	if stay {
		return a.tellDaemon("running to stay")
	}
	return a.tellDaemon("restarted")
}

// likeBefore are the flags by which a new daemon reads the configuration that the old one had, and has its environments, where
// this shell would choose others.
func (a *app) likeBefore(info rpc.Info) ([]string, error) {
	var args []string
	flags := config.Flags{}
	if path, err := config.FilePath(flags, a.env); (err != nil || path != info.ConfigPath) && exists(info.ConfigPath) {
		flags.Config = info.ConfigPath
		args = append(args, "--config="+info.ConfigPath)
	}
	cfg, err := config.Load(flags, a.env)
	if err != nil {
		return nil, err
	}
	state := cfg.CacheDir
	if state == "" {
		state, _ = rpc.StateDir(runtime.GOOS, a.env)
	}
	now, err1 := os.Stat(state)
	was, err2 := os.Stat(info.StateDir)
	if err2 == nil && (err1 != nil || !os.SameFile(now, was)) {
		args = append(args, "--cache-dir="+info.StateDir)
	}
	return args, nil
}

// locks says why no daemon could take the lock where the environments of another one are: its disk turned read-only. What else may be
// in the way, the next daemon says.
func locks(info rpc.Info) error {
	f, err := safefile.OpenOwn(filepath.Join(info.StateDir, statedir.LockName), os.O_WRONLY, 0)
	if err == nil {
		return f.Close()
	}
	if errors.Is(err, syscall.EROFS) {
		return failure.New("the disk of %s is read-only, so no daemon can start there", info.StateDir).
			WithHint("the one that runs was left alone; make the disk writable, and do it again")
	}
	return nil
}

type daemonReloadCmd struct{}

func (daemonReloadCmd) Run(a *app) error {
	return ask(a, rpc.MethodReload, nil, func(r rpc.ReloadResult) {
		if len(r.Changed) == 0 {
			fmt.Fprintln(a.stdout, "no pool has changed")
			return
		}
		fmt.Fprintln(a.stdout, "changed:", redact.Printable(strings.Join(r.Changed, ", ")))
	})
}
