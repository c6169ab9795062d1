package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"runtimed/internal/daemon"
	"runtimed/internal/failure"
	"runtimed/internal/logview"
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
	Level  daemonLogLevelCmd `cmd:"" name:"log-level" help:"Make the daemon log more or less."`
	Reload daemonReloadCmd   `cmd:"" help:"Make the daemon read its configuration again."`
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
	Auto bool `help:"${daemonStartAuto}"`
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
	client, info, err := a.Dial(a.Ctx, nil)
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
		if err := a.Replace(client, info, true); err != nil {
			return err
		}
		return a.tellDaemon("running until stopped")
	}
	if _, err := a.Call(client, rpc.MethodPing, rpc.None{}, 0); err != nil { // it is about to be needed
		return err
	}
	return a.tellDaemon("already running")
}

func (a *app) tellDaemon(done string) error {
	return ask(a, rpc.MethodInfo, nil, func(i rpc.Info) {
		a.printf("%s: pid %d, socket %s\n", done, i.PID, i.Socket)
	})
}

type daemonStopCmd struct{}

// Run stops a daemon of any version, to make room for another.
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
	c, info, err := a.Dial(a.Ctx, nil)
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
		a.Hint("its service manager cannot be reached from here and may start it again; in a session of your own: " +
			"runt service stop")
	}
	return answer(a, raw, func(rpc.None) { fmt.Fprintf(a.stdout, "stopped: pid %s\n", pid) })
}

type daemonRestartCmd struct{}

// Run replaces a daemon of any version.
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
	c, info, err := a.Dial(a.Ctx, nil)
	if rpc.KindOf(err) == rpc.KindUnreachable {
		return (&daemonStartCmd{}).Run(a)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	if err := a.Replace(c, info, false); err != nil {
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
	switch {
	case st.Package:
		a.Hint(againAtLogin)
	case st.Enabled:
		a.Hint("its service starts it again at the next login; to prevent that: runt service uninstall")
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
	return "It applies until the daemon's next start; log_level in the configuration applies to every start."
}

func (c *daemonLogLevelCmd) Run(a *app) error {
	err := ask(a, rpc.MethodSetLogLevel, rpc.LogLevel{Level: c.Level}, func(r rpc.LogLevel) {
		fmt.Fprintln(a.stdout, "logging from", redact.Printable(r.Level), "on, until the next start")
	})
	if rpc.KindOf(err) == rpc.KindMethodNotFound {
		return failure.New("the daemon is older than this runt, and cannot change its log level").
			WithHint("replace it with the daemon of this runt: runt daemon restart")
	}
	return err
}

type daemonLogsCmd struct {
	Follow bool    `short:"f" help:"Keep printing as the log grows."`
	Lines  int     `short:"n" default:"50" help:"Begin with this many of the last lines (default: ${default})."`
	Level  string  `enum:",debug,info,warn,error" default:"" placeholder:"LEVEL" help:"${daemonLogsLevel}"`
	Since  *moment `placeholder:"TIME" help:"${daemonLogsSince}"`
}

func (daemonLogsCmd) Help() string {
	return "The log is in a file, or in the journal if systemd runs the daemon. --json prints the lines as they are " +
		"in the file, and those of the journal in the same form."
}

func (c *daemonLogsCmd) Run(a *app) error {
	src, err := a.LogSource()
	if err != nil {
		return err
	}
	filter := logview.Filter{Least: logview.Levels[c.Level]}
	if c.Since != nil {
		filter.Since = c.Since.Time
	}
	lines, err := src.Last(a.Ctx, max(0, c.Lines), filter)
	var none *logview.NoLogError
	if err != nil && !(c.Follow && errors.As(err, &none)) {
		return err
	}
	out := &logview.Printer{W: a.stdout, JSON: a.json, Filter: filter}
	for _, line := range lines {
		out.Print(line)
	}
	if c.Follow && a.stdout.err == nil {
		if err := src.Follow(a.Ctx, out); a.Ctx.Err() == nil {
			return err
		}
		return errEnough
	}
	return nil
}

type moment struct{ time.Time }

var momentLayouts = []string{
	time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly,
}

func (m *moment) UnmarshalText(text []byte) error {
	s, now := string(text), time.Now()
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			m.Time = now.AddDate(0, 0, -int(n))
			return nil
		}
	}
	if ago, err := time.ParseDuration(s); err == nil && ago >= 0 {
		m.Time = now.Add(-ago)
		return nil
	}
	for _, layout := range momentLayouts {
		if at, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			m.Time = at
			return nil
		}
	}
	for _, layout := range []string{time.TimeOnly, "15:04"} {
		if at, err := time.Parse(layout, s); err == nil {
			m.Time = time.Date(now.Year(), now.Month(), now.Day(), at.Hour(), at.Minute(), at.Second(), 0, time.Local)
			return nil
		}
	}
	return fmt.Errorf(
		"must be a duration like 30m, 2h or 7d, or a time like 15:04, 2006-01-02 or 2006-01-02T15:04, got %q", s)
}
