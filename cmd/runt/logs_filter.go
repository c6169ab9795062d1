package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// levels are in the order of gravity. What has another is graver than all of these.
var levels = map[string]int{"": 0, "debug": 0, "info": 1, "warn": 2, "error": 3}

// logFilter keeps the lines that are grave and young enough. A line that is no JSON is of a crash: it is as grave as an
// error and as old as the line before it.
type logFilter struct {
	least int
	since time.Time
	at    time.Time
}

func (f *logFilter) keeps(line []byte) bool {
	if f.least == 0 && f.since.IsZero() {
		return true
	}
	level := levels["error"]
	var told struct{ Level, Time, Msg string }
	if json.Unmarshal(line, &told) == nil && told.Level != "" {
		if n, known := levels[told.Level]; known {
			level = n
		}
		if at, err := time.Parse(time.RFC3339, told.Time); err == nil {
			f.at = at
		}
	}
	return level >= f.least && !f.at.Before(f.since)
}

// logText prints the lines of a log for people, or as they are.
type logText struct {
	w      io.Writer
	json   bool
	filter logFilter
	rest   []byte // a line whose end has not come yet
}

// Write takes a log as it grows.
func (o *logText) Write(p []byte) (int, error) {
	o.rest = append(o.rest, p...)
	for {
		line, rest, whole := bytes.Cut(o.rest, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		o.rest = rest
		if o.filter.keeps(line) {
			if err := o.print(line); err != nil {
				return 0, err
			}
		}
	}
}

// end is for a log that ended within a line: the next one does not go on with it.
func (o *logText) end() {
	if len(o.rest) > 0 {
		o.Write([]byte("\n"))
	}
}

func (o *logText) print(line []byte) error {
	text := string(line)
	if !o.json {
		text = logLine(line)
	}
	_, err := fmt.Fprintln(o.w, text)
	return err
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
	return fmt.Errorf("must be a duration like 30m, 2h or 7d, or a time like 15:04, 2006-01-02 or 2006-01-02T15:04, got %q", s)
}
