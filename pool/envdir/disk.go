package envdir

import (
	"errors"
	"io/fs"

	"runtimed/internal/safefile"
	"runtimed/pool/builder"
)

// DiskError classifies a failure of our own writes. The error is nil, or a *builder.Error.
func DiskError(err error) error {
	if err == nil {
		return nil
	}
	b := &builder.Error{Cause: builder.CauseOther, Message: "keeping the environment: " + err.Error()}
	switch {
	case errors.As(err, new(*safefile.Error)):
		b.Hint = "move it away; it is then made anew, and tried again by itself"
	case safefile.IsFull(err):
		b.Cause, b.Hint = builder.CauseDiskFull, "free some space"
	case errors.Is(err, fs.ErrPermission), isReadOnly(err):
		b.Cause, b.Hint = builder.CausePermission,
			"the state directory must be writable; cache_dir in the configuration names another"
	}
	return b
}
