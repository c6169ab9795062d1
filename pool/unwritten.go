package pool

import (
	"fmt"

	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// unwritten is the error for who asked for a change of a lease that cannot be put on disk. The environment stays as it
// was.
func unwritten(id, pool string, err error) *FailedError {
	b := envdir.DiskError(err)
	if s := builder.MachineSymptom(err.Error()); s != nil {
		b.Cause, b.Hint = s.Cause, s.Hint
	}
	if b.Hint == "" {
		b.Hint = "look at that file, and ask again"
	}
	b.Message = fmt.Sprintf("%s stays as it is: %s", id, err)
	return &FailedError{baseOf(pool), b, -1}
}
