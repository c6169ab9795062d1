// Package failure has the error that runt reports: a message, the next step, what a tool said, and the exit code.
package failure

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"runtimed/internal/redact"
	"runtimed/rpc"
)

// The exit codes. `runt run` also ends with those of its command.
const (
	OK            = 0
	Failed        = 1
	Usage         = 2
	Unreachable   = 3 // no daemon, or one that does not answer
	NoEnvironment = 4 // none in time
	OtherVersion  = 5
	BuildFailed   = 6
	Unknown       = 7 // no such pool, no such environment, no project
	NotExecutable = 126
	NotFound      = 127
	Interrupted   = 130
)

var exitOfKind = map[string]int{
	rpc.KindInvalidParams: Usage,
	rpc.KindPoolEmpty:     NoEnvironment,
	rpc.KindUnknownPool:   Unknown,
	rpc.KindNoProject:     Unknown,
	rpc.KindUnknownEnv:    Unknown,
	rpc.KindBuildFailed:   BuildFailed,
	rpc.KindShuttingDown:  Unreachable,
	rpc.KindUnreachable:   Unreachable,
	rpc.KindTimeout:       Unreachable,
}

// Error is what runt reports when a command fails.
type Error struct {
	Code    int
	Message string // several lines are several errors
	Output  string // what a tool said, if it tells more
	Hint    string
}

func (f *Error) Error() string { return f.Message }

// New is an error with the exit code [Failed].
func New(format string, args ...any) *Error {
	return With(Failed, format, args...)
}

// With is an error with that exit code.
func With(code int, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// WithHint sets the next step.
func (f *Error) WithHint(format string, args ...any) *Error {
	f.Hint = fmt.Sprintf(format, args...)
	return f
}

// OrHint sets the next step if there is none.
func (f *Error) OrHint(hint string) *Error {
	if f.Hint == "" {
		f.Hint = hint
	}
	return f
}

// Quote takes over what another program of ours said on stderr, where it said something.
func (f *Error) Quote(program, stderr string) {
	var errs, rest []string
	for _, line := range redact.LastLines(stderr, 20) {
		if text, ok := strings.CutPrefix(line, program+": error: "); ok {
			errs = append(errs, text)
		} else if text, ok := strings.CutPrefix(line, program+": hint: "); ok {
			f.Hint = text
		} else {
			rest = append(rest, strings.TrimPrefix(line, "  | "))
		}
	}
	if len(errs) > 0 {
		f.Message = strings.Join(errs, "\n")
	}
	f.Output = strings.Join(rest, "\n")
}

type explained interface {
	error
	Explain() (hint, output string)
}

// Of is err as an Error: with the exit code of what the daemon answered, and with the next step if err has one.
func Of(err error) *Error {
	var f *Error
	if errors.As(err, &f) {
		return f
	}
	var x explained
	if errors.As(err, &x) {
		hint, output := x.Explain()
		return &Error{Code: Failed, Message: x.Error(), Output: output, Hint: hint}
	}
	var e *rpc.Error
	if !errors.As(err, &e) {
		return New("%s", err)
	}
	return &Error{Code: cmp.Or(exitOfKind[e.Data.Kind], Failed), Message: e.Message, Output: e.Data.Output,
		Hint: e.Data.Hint}
}
