package main

import (
	"errors"

	"runtimed/internal/logview"
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
