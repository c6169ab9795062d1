package logview

import (
	"context"

	"runtimed/internal/failure"
)

// Source is where a log is: a file, or the journal.
type Source interface {
	// Last are the last n lines that the filter keeps, and there is none of them is no error unless there is no log at all.
	Last(ctx context.Context, n int, f Filter) ([][]byte, error)
	// Follow writes what comes after those. It ends with the context, or when nobody reads any more.
	Follow(ctx context.Context, out *Printer) error
}

// NoLogError is that there is no log yet.
type NoLogError struct{ why *failure.Error }

func (e NoLogError) Error() string { return e.why.Error() }
func (e NoLogError) Unwrap() error { return e.why }

func IsNoLog(err error) bool { _, is := err.(NoLogError); return is }

func noLog(path string) error {
	return NoLogError{failure.New("there is no log at %s yet", path).WithHint("start a daemon with: runt daemon start")}
}
