package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"runtimed/internal/logview"
	"runtimed/internal/statedir"
	"runtimed/rpc"
)

type daemonLogsCmd struct {
	Follow bool    `short:"f" help:"Go on printing as the log grows."`
	Lines  int     `short:"n" default:"50" help:"Begin with this many of the last lines (default: ${default})."`
	Level  string  `enum:",debug,info,warn,error" default:"" placeholder:"LEVEL" help:"Only what is this grave: debug, info, warn or error."`
	Since  *moment `placeholder:"TIME" help:"Only what is not older: like 30m, 2h or 7d, or 15:04, 2006-01-02 or 2006-01-02T15:04."`
}

func (daemonLogsCmd) Help() string {
	return "The log is in a file, or in the journal where systemd runs the daemon. " +
		"With --json the lines are printed as they are in the file, and those of the journal in the same shape."
}

func (c *daemonLogsCmd) Run(a *app) error {
	src, err := a.logSource()
	if err != nil {
		return err
	}
	filter := logview.Filter{Least: logview.Levels[c.Level]}
	if c.Since != nil {
		filter.Since = c.Since.Time
	}
	lines, err := src.Last(a.ctx, max(0, c.Lines), filter)
	if err != nil && !(c.Follow && logview.IsNoLog(err)) {
		return err
	}
	out := &logview.Printer{W: a.stdout, Json: a.json, Filter: filter}
	for _, line := range lines {
		out.Print(line)
	}
	if c.Follow && a.stdout.err == nil {
		if err := src.Follow(a.ctx, out); a.ctx.Err() == nil {
			return err
		}
		return errEnough
	}
	return nil
}

// logAskTime is how long we ask a daemon where its log is: who looks at a log may do so because the daemon hangs.
const logAskTime = 500 * time.Millisecond

// logSource asks the daemon. Where none answers, the log is in the journal if there is a service that has written there
// last, and else in the file beside the socket: it has most to tell when no daemon answers.
func (a *app) logSource() (logview.Source, error) {
	path, err := a.logFile()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(a.ctx, logAskTime)
	defer cancel()
	if c, info, err := a.meet(ctx, nil); err == nil {
		c.Close()
		switch info.Log {
		case "": // of an older daemon
		case rpc.LogJournal:
			return &logview.Journal{}, nil
		default:
			return &logview.File{Path: info.Log}, nil
		}
	}
	if unit := userUnit(a.env); unit != "" && exists(unit) && a.journalIsNewer(path) {
		return &logview.Journal{}, nil
	}
	return &logview.File{Path: path}, nil
}

// journalIsNewer tells whether the last word of a daemon is in the journal and not in the file: it may have run by hand since.
func (a *app) journalIsNewer(path string) bool {
	lines, err := (&logview.Journal{}).Last(a.ctx, 1, logview.Filter{})
	info, ferr := os.Stat(path)
	if err != nil || ferr != nil {
		return err == nil
	}
	var told struct{ Time time.Time }
	return len(lines) > 0 && json.Unmarshal(lines[0], &told) == nil && told.Time.After(info.ModTime())
}

// logFile is where a daemon writes that no systemd runs.
func (a *app) logFile() (string, error) {
	dir, err := a.besideSocket()
	return filepath.Join(dir, statedir.LogName), err
}

// besideSocket is the folder of the daemon's lock, log and daemon.json.
func (a *app) besideSocket() (string, error) {
	if runtime.GOOS == "windows" { // a pipe is in no folder
		return rpc.StateDir(runtime.GOOS, a.env)
	}
	socket, err := a.socket()
	return filepath.Dir(socket), err
}

// userUnit is the file of the user's own service.
func userUnit(env func(string) string) string {
	if runtime.GOOS != "linux" {
		return ""
	}
	dir := env("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) {
		if env("HOME") == "" {
			return ""
		}
		dir = filepath.Join(env("HOME"), ".config")
	}
	return filepath.Join(dir, "systemd", "user", "runtimed.service")
}
