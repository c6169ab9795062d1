package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"runtimed/config"
	"runtimed/internal/redact"
	"runtimed/rpc"
)

// The exit codes. `runt run` has those of its command besides.
const (
	exitOK            = 0
	exitFailed        = 1
	exitUsage         = 2
	exitUnreachable   = 3 // no daemon, or one that does not answer
	exitNoEnvironment = 4 // none in time
	exitVersion       = 5
	exitBuildFailed   = 6
	exitUnknown       = 7 // no such pool, no such environment
	exitNotExecutable = 126
	exitNotFound      = 127
	exitInterrupted   = 130
)

var exitOfKind = map[string]int{
	rpc.KindInvalidParams: exitUsage,
	rpc.KindPoolEmpty:     exitNoEnvironment,
	rpc.KindUnknownPool:   exitUnknown,
	rpc.KindUnknownEnv:    exitUnknown,
	rpc.KindBuildFailed:   exitBuildFailed,
	rpc.KindShuttingDown:  exitUnreachable,
	rpc.KindUnreachable:   exitUnreachable,
	rpc.KindTimeout:       exitUnreachable,
}

// failure is an error with all that its report needs.
type failure struct {
	code    int
	message string // several lines are several errors
	output  string // what a tool said, if it tells more
	hint    string
}

// errEnough ends what has no other end than the user's Ctrl-C, so there is nothing to say.
var errEnough error = &failure{code: exitInterrupted}

func (f *failure) Error() string { return f.message }

func failed(format string, args ...any) *failure {
	return failure{code: exitFailed}.says(format, args...)
}

func (f failure) says(format string, args ...any) *failure {
	f.message = fmt.Sprintf(format, args...)
	return &f
}

func (f *failure) withHint(format string, args ...any) *failure {
	f.hint = fmt.Sprintf(format, args...)
	return f
}

func (f *failure) orHint(hint string) *failure {
	if f.hint == "" {
		f.hint = hint
	}
	return f
}

// quote takes over what another program of ours said on stderr, where it said something.
func (f *failure) quote(program, stderr string) {
	var errs, rest []string
	for _, line := range lastLines(stderr, 20) {
		if text, ok := strings.CutPrefix(line, program+": error: "); ok {
			errs = append(errs, text)
		} else if text, ok := strings.CutPrefix(line, program+": hint: "); ok {
			f.hint = text
		} else {
			rest = append(rest, strings.TrimPrefix(line, "  | "))
		}
	}
	if len(errs) > 0 {
		f.message = strings.Join(errs, "\n")
	}
	f.output = strings.Join(rest, "\n")
}

func asFailure(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	var faults config.Faults
	if errors.As(err, &faults) {
		return &failure{code: exitFailed, message: faults.Error(), hint: "check it again with: runt config check"}
	}
	var e *rpc.Error
	if !errors.As(err, &e) {
		return failed("%s", err)
	}
	code, told := exitOfKind[e.Data.Kind]
	if !told {
		code = exitFailed
	}
	return &failure{code: code, message: e.Message, output: e.Data.Output, hint: e.Data.Hint}
}

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

// shown is one line of what others may have written, fit for a terminal and for whoever looks at it.
func shown(s string) string { return redact.Printable(redact.Text(s)) }

// lastLines are the last n lines of a tool's output, fit for a terminal.
func lastLines(output string, n int) []string {
	output = strings.TrimSpace(redact.Text(output))
	if output == "" {
		return nil
	}
	lines := strings.Split(output, "\n")
	lines = lines[max(0, len(lines)-n):]
	for i := range lines {
		lines[i] = redact.Printable(strings.TrimRight(lines[i], "\r"))
	}
	return lines
}
