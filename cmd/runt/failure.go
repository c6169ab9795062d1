package main

import (
	"errors"
	"fmt"
	"strings"

	"runtimed/config"
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

func (f *failure) Error() string { return f.message }

func failed(format string, args ...any) *failure {
	return failedWith(exitFailed, format, args...)
}

func failedWith(code int, format string, args ...any) *failure {
	return &failure{code: code, message: fmt.Sprintf(format, args...)}
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
