package main

import (
	"context"

	"runtimed/internal/failure"
)

// logSource is where a log is: a file, or the journal.
type logSource interface {
	// last are the last n lines that the filter keeps, and there is none of them is no error unless there is no log at all.
	last(ctx context.Context, n int, f logFilter) ([][]byte, error)
	// follow writes what comes after those. It ends with the context, or when nobody reads any more.
	follow(ctx context.Context, out *logText) error
}

// errNoLog is that there is no log yet.
type errNoLog struct{ why *failure.Error }

func (e errNoLog) Error() string { return e.why.Error() }
func (e errNoLog) Unwrap() error { return e.why }

func isNoLog(err error) bool { _, is := err.(errNoLog); return is }

func noLog(path string) error {
	return errNoLog{failure.New("there is no log at %s yet", path).WithHint("start a daemon with: runt daemon start")}
}
