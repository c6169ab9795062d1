package pool

import (
	"errors"
	"io/fs"

	"runtimed/internal/safefile"
)

// diskError tells the kind of a failure of our own writes.
func diskError(err error) *BuildError {
	b := &BuildError{Cause: CauseOther, Message: "keeping the environment: " + err.Error()}
	var other *safefile.Error
	switch {
	case errors.As(err, &other):
		b.Hint = "move it away; it is then made anew, and tried again by itself"
	case isFull(err):
		b.Cause, b.Hint = CauseDiskFull, "free some room"
	case errors.Is(err, fs.ErrPermission), isReadOnly(err):
		b.Cause, b.Hint = CausePermission, "the state directory must be writable; cache_dir in the configuration names another"
	}
	return b
}
