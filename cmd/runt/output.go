package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"runtimed/internal/daemon"
	"runtimed/internal/failure"
	"runtimed/internal/redact"
)

// ask connects, calls and shows the answer.
func ask[R any](a *app, method string, params any, show func(R)) error {
	raw, err := a.Ask(method, params, 0)
	if err != nil {
		return err
	}
	return answer(a, raw, show)
}

// answer prints the result as it came, or has it shown.
func answer[R any](a *app, raw json.RawMessage, show func(R)) error {
	var result R
	if err := daemon.Decode(raw, &result); err != nil {
		return err
	}
	if a.json {
		a.printJSON(raw)
	} else {
		show(result)
	}
	return nil
}

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

// printf prints for people. Strings in args may be others' words, so they are made fit for a terminal.
func (a *app) printf(format string, args ...any) {
	for i, v := range args {
		if s, ok := v.(string); ok {
			args[i] = redact.Printable(s)
		}
	}
	fmt.Fprintf(a.stdout, format, args...)
}

// show prints v as JSON, or calls print, which is for people.
func (a *app) show(v any, print func()) error {
	if a.json {
		return a.encode(v)
	}
	print()
	return nil
}

func (a *app) encode(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
