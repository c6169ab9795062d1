package logview

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Levels are in the order of gravity. What has another is graver than all of these.
var Levels = map[string]int{"": 0, "debug": 0, "info": 1, "warn": 2, "error": 3}

// Filter keeps the lines that are grave and young enough. A line that is no JSON is of a crash: it is as grave as an
// error and as old as the line before it.
type Filter struct {
	Least int
	Since time.Time
	at    time.Time
}

func (f *Filter) keeps(line []byte) bool {
	if f.Least == 0 && f.Since.IsZero() {
		return true
	}
	level := Levels["error"]
	var told struct{ Level, Time, Msg string }
	if json.Unmarshal(line, &told) == nil && told.Level != "" {
		if n, known := Levels[told.Level]; known {
			level = n
		}
		if at, err := time.Parse(time.RFC3339, told.Time); err == nil {
			f.at = at
		}
	}
	return level >= f.Least && !f.at.Before(f.Since)
}

// Printer prints the lines of a log for people, or as they are.
type Printer struct {
	W      io.Writer
	Json   bool
	Filter Filter
	rest   []byte // a line whose end has not come yet
	err    error  // of writing
}

// Write takes a log as it grows.
func (o *Printer) Write(p []byte) (int, error) {
	o.rest = append(o.rest, p...)
	for {
		line, rest, whole := bytes.Cut(o.rest, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		o.rest = rest
		if o.Filter.keeps(line) {
			if err := o.Print(line); err != nil {
				return 0, err
			}
		}
	}
}

// end is for a log that ended within a line: the next one does not go on with it.
func (o *Printer) end() {
	if len(o.rest) > 0 {
		o.Write([]byte("\n"))
	}
}

func (o *Printer) Print(line []byte) error {
	text := string(line)
	if !o.Json {
		text = readable(line)
	}
	if _, err := fmt.Fprintln(o.W, text); err != nil {
		o.err = err
	}
	return o.err
}
