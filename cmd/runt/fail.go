package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"runtimed/internal/failure"
	"runtimed/internal/redact"
)

// errEnough ends what has no other end than the user's Ctrl-C, so there is nothing to say.
var errEnough error = &failure.Error{Code: failure.Interrupted}

// report tells the user and gives the exit code.
func (a *app) report(err error) int {
	if err == nil {
		return failure.OK
	}
	f := failure.Of(err)
	for line := range strings.Lines(f.Message) {
		fmt.Fprintln(a.stderr, "runt: error:", redact.Line(strings.TrimRight(line, "\r\n")))
	}
	for _, line := range redact.LastLines(f.Output, 10) {
		fmt.Fprintln(a.stderr, "  |", line)
	}
	if f.Hint != "" {
		fmt.Fprintln(a.stderr, "runt: hint:", redact.Line(f.Hint))
	}
	return f.Code
}

// printJSON prints an answer as it came.
func (a *app) printJSON(raw json.RawMessage) { fmt.Fprintf(a.stdout, "%s\n", raw) }
