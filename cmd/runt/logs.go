package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"runtimed/internal/logview"
)

type daemonLogsCmd struct {
	Follow bool    `short:"f" help:"Go on printing as the log grows."`
	Lines  int     `short:"n" default:"50" help:"Begin with this many of the last lines (default: ${default})."`
	Level  string  `enum:",debug,info,warn,error" default:"" placeholder:"LEVEL" help:"${daemonLogsLevel}"`
	Since  *moment `placeholder:"TIME" help:"${daemonLogsSince}"`
}

func (daemonLogsCmd) Help() string {
	return "The log is in a file, or in the journal where systemd runs the daemon. With --json the lines are " +
		"printed as they are in the file, and those of the journal in the same shape."
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

// moment is a time on the command line: how long ago, or when.
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
