package main

import (
	"fmt"
	"strings"
	"time"

	"runtimed/internal/daemon"
	"runtimed/internal/failure"
	"runtimed/internal/redact"
	"runtimed/rpc"
	"runtimed/service"
)

type daemonCmd struct {
	Info   daemonInfoCmd     `cmd:"" help:"Print who answers on the socket."`
	Start  daemonStartCmd    `cmd:"" help:"Start the daemon in the background, unless it runs."`
	Stop   daemonStopCmd     `cmd:"" help:"Stop the daemon, if it runs. Environments in use stay in use."`
	Again  daemonRestartCmd  `cmd:"" name:"restart" help:"${daemonAgain}"`
	Logs   daemonLogsCmd     `cmd:"" help:"Print the daemon's log."`
	Level  daemonLogLevelCmd `cmd:"" name:"log-level" help:"Have the daemon log more, or less."`
	Reload daemonReloadCmd   `cmd:"" help:"Have the daemon read its configuration again."`
}

type daemonInfoCmd struct{}

func (daemonInfoCmd) Run(a *app) error {
	return ask(a, rpc.MethodInfo, nil, func(i rpc.Info) {
		uptime := time.Duration(i.UptimeMS) * time.Millisecond
		a.printf("Version:  %s (protocol %d)\nPID:      %d\nStarted:  %s (%s ago)\n",
			i.Version, i.Protocol, i.PID, i.StartedAt.Local().Format(time.DateTime), age(uptime))
		a.printf("Socket:   %s\nState:    %s\nConfig:   %s\n", i.Socket, i.StateDir, i.ConfigPath)
	})
}

type daemonStartCmd struct {
	Auto bool `hidden:"" help:"${daemonStartAuto}"`
}

func (c *daemonStartCmd) Run(a *app) error {
	if s := a.Managed(); s != nil {
		done, err := s.StartDaemon()
		switch {
		case err != nil:
			return err
		case done:
			return a.tellDaemon("started by its service")
		}
	}
	client, info, err := a.Meet(a.Ctx, nil)
	if rpc.KindOf(err) == rpc.KindUnreachable {
		if err := a.Launch(c.Auto); err != nil {
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
		return daemon.OtherVersion(info)
	case info.StartedBy == rpc.StartedByCommand && !c.Auto: // it would end by itself, and now somebody wants it to stay
		if err := a.Swap(client, info, true); err != nil {
			return err
		}
		return a.tellDaemon("running to stay")
	}
	return a.tellDaemon("already running")
}

// tellDaemon says what was done, and prints who answers now.
func (a *app) tellDaemon(done string) error {
	return ask(a, rpc.MethodInfo, nil, func(i rpc.Info) {
		a.printf("%s: pid %d, socket %s\n", done, i.PID, i.Socket)
	})
}

type daemonStopCmd struct{}

// A daemon of any version can be stopped: that is how one makes place for another.
func (daemonStopCmd) Run(a *app) error {
	if s := a.Managed(); s != nil { // a socket that is left would start it again
		done, before, err := s.StopDaemon()
		switch {
		case err != nil:
			return err
		case done:
			return a.stoppedService(before)
		}
	}
	c, info, err := a.Meet(a.Ctx, nil)
	if rpc.KindOf(err) == rpc.KindUnreachable {
		return a.show(struct{}{}, func() { fmt.Fprintln(a.stdout, "not running") })
	}
	if err != nil {
		return err
	}
	pid := daemon.PidOf(c, info)
	raw, err := a.Shutdown(c, info)
	if err != nil {
		return err
	}
	if info.StartedBy == rpc.StartedByService {
		a.Hint("its service manager may start it again, and cannot be reached from here; in a session of your own: " +
			"runt service stop")
	}
	return answer(a, raw, func(rpc.None) { fmt.Fprintf(a.stdout, "stopped: pid %s\n", pid) })
}

type daemonRestartCmd struct{}

// A daemon of any version can be swapped for that of this runt.
func (daemonRestartCmd) Run(a *app) error {
	if s := a.Managed(); s != nil {
		done, err := s.RestartDaemon()
		switch {
		case err != nil:
			return err
		case done:
			return a.tellDaemon("restarted")
		}
	}
	c, info, err := a.Meet(a.Ctx, nil)
	if rpc.KindOf(err) == rpc.KindUnreachable {
		return (&daemonStartCmd{}).Run(a)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	if err := a.Swap(c, info, false); err != nil {
		return err
	}
	return a.tellDaemon("restarted")
}

type daemonReloadCmd struct{}

func (daemonReloadCmd) Run(a *app) error {
	return ask(a, rpc.MethodReload, nil, func(r rpc.ReloadResult) {
		if len(r.Changed) == 0 {
			a.printf("no pool has changed\n")
		} else {
			a.printf("changed: %s\n", strings.Join(r.Changed, ", "))
		}
	})
}

func (a *app) stoppedService(st service.Status) error {
	if st.Enabled {
		a.Hint("its service starts it again at the next login, unless: runt service uninstall")
	}
	text := "stopped"
	if st.PID != 0 {
		text += fmt.Sprintf(": pid %d", st.PID)
	}
	return a.show(struct{}{}, func() { fmt.Fprintln(a.stdout, text) })
}

type daemonLogLevelCmd struct {
	Level string `arg:"" enum:"debug,info,warn,error" help:"debug, info, warn or error."`
}

func (daemonLogLevelCmd) Help() string {
	return "It holds until the daemon's next start; log_level in the configuration is for every start."
}

func (c *daemonLogLevelCmd) Run(a *app) error {
	err := ask(a, rpc.MethodSetLogLevel, rpc.LogLevel{Level: c.Level}, func(r rpc.LogLevel) {
		fmt.Fprintln(a.stdout, "logging from", redact.Printable(r.Level), "on, until the next start")
	})
	if rpc.KindOf(err) == rpc.KindMethodNotFound {
		return failure.New("the daemon is older than this runt, and has but the level of its start").
			WithHint("swap it for the daemon of this runt: runt daemon restart")
	}
	return err
}
