package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
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
	err    error  // of writing
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
	if _, err := fmt.Fprintln(o.w, text); err != nil {
		o.err = err
	}
	return o.err
}
