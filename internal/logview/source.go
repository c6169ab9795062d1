// Package logview reads the daemon's log, from its files or from the journal.
package logview

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"runtimed/internal/redact"
)

// NoLogError says that there is no log yet.
type NoLogError struct{ Path string }

func (e *NoLogError) Error() string { return fmt.Sprintf("there is no log at %s yet", e.Path) }

// Explain gives the next step.
func (e *NoLogError) Explain() (hint, output string) {
	return "start a daemon with: runt daemon start", ""
}

// Source is a log: a [File], or the [Journal].
type Source interface {
	// Last returns the last n lines that the filter keeps. If there is no log at all, the error is a *[NoLogError].
	Last(ctx context.Context, n int, f Filter) ([][]byte, error)
	// Follow prints what comes after those, until ctx is done or the printer fails.
	Follow(ctx context.Context, out *Printer) error
}

// Levels orders the levels; one that is not here is graver than all of these.
var Levels = map[string]int{"": 0, "debug": 0, "info": 1, "warn": 2, "error": 3}

// Filter keeps the lines that are grave and young enough. A line that is not JSON comes from a crash: it counts as an
// error, and is as old as the line before it.
type Filter struct {
	Least int // one of Levels
	Since time.Time
	at    time.Time
}

func (f *Filter) keeps(line []byte) bool {
	if f.Least == 0 && f.Since.IsZero() {
		return true
	}
	level := Levels["error"]
	if e := parse(line); e.Level != "" {
		if n, known := Levels[e.Level]; known {
			level = n
		}
		if at, err := time.Parse(time.RFC3339, e.Time); err == nil {
			f.at = at
		}
	}
	return level >= f.Least && !f.at.Before(f.Since)
}

type entry struct {
	Level  string `json:"level"`
	Time   string `json:"time"`
	Logger string `json:"logger,omitempty"`
	Msg    string `json:"msg"`
}

func parse(line []byte) (e entry) {
	if json.Unmarshal(line, &e) != nil {
		return entry{}
	}
	return e
}

// Time is when a line was written; zero if it does not say.
func Time(line []byte) time.Time {
	at, _ := time.Parse(time.RFC3339, parse(line).Time)
	return at
}

// Printer prints the lines of a log.
type Printer struct {
	W      io.Writer
	JSON   bool // as they are, not for people
	Filter Filter
	rest   []byte // a line whose end has not come yet
	err    error
}

// Write takes a log as it grows.
func (p *Printer) Write(data []byte) (int, error) {
	p.rest = append(p.rest, data...)
	for {
		line, rest, whole := bytes.Cut(p.rest, []byte("\n"))
		if !whole {
			return len(data), p.err
		}
		p.rest = rest
		if p.Filter.keeps(line) {
			p.Print(line)
		}
	}
}

func (p *Printer) end() {
	if len(p.rest) > 0 {
		_, _ = p.Write([]byte("\n")) // p.err has it
	}
}

// Print prints a line, whether the filter keeps it or not.
func (p *Printer) Print(line []byte) {
	text := string(line)
	if !p.JSON {
		text = readable(line)
	}
	if _, err := fmt.Fprintln(p.W, text); err != nil {
		p.err = err
	}
}

// readable is "time LEVEL message name=value…". A line that is not JSON stays as it is.
func readable(line []byte) string {
	e := parse(line)
	if e.Msg == "" {
		return redact.Printable(strings.TrimRight(string(line), "\r\n"))
	}
	if at, err := time.Parse(time.RFC3339, e.Time); err == nil {
		e.Time = at.Local().Format(time.DateTime)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %-5s %s", e.Time, strings.ToUpper(e.Level), e.Msg)
	dec := json.NewDecoder(bytes.NewReader(line))
	_, _ = dec.Token()
	for dec.More() { // in the order of the line, which a map would lose
		var raw json.RawMessage
		name, err := dec.Token()
		if err != nil || dec.Decode(&raw) != nil {
			break
		}
		switch name {
		case "level", "time", "msg":
		default:
			value := string(raw)
			var text string
			if json.Unmarshal(raw, &text) == nil && text != "" && !strings.ContainsAny(text, " \t\n\"=") {
				value = text
			}
			fmt.Fprintf(&b, " %s=%s", name, value)
		}
	}
	return redact.Printable(b.String())
}
