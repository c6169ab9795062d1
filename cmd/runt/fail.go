package main

import (
	"encoding/json"
	"fmt"
	"strings"
)

// errEnough ends what has no other end than the user's Ctrl-C, so there is nothing to say.
var errEnough error = &failure{code: exitInterrupted}

// report tells the user and gives the exit code.
func (a *app) report(err error) int {
	if err == nil {
		return exitOK
	}
	f := asFailure(err)
	for line := range strings.Lines(f.message) {
		fmt.Fprintln(a.stderr, "runt: error:", shown(strings.TrimRight(line, "\r\n")))
	}
	for _, line := range lastLines(f.output, 10) {
		fmt.Fprintln(a.stderr, "  |", line)
	}
	if f.hint != "" {
		fmt.Fprintln(a.stderr, "runt: hint:", shown(f.hint))
	}
	return f.code
}

// printJSON prints an answer as it came.
func (a *app) printJSON(raw json.RawMessage) { fmt.Fprintf(a.stdout, "%s\n", raw) }
