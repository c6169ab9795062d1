package pool

import "fmt"

// unwritten is the error for who asked for a change of a lease that cannot be put on disk. The environment stays as it was.
func unwritten(id, pool string, err error) *FailedError {
	b := diskError(err)
	if s := machineSymptom(err.Error()); s != nil {
		b.Cause, b.Hint = s.cause, s.hint
	}
	if b.Hint == "" {
		b.Hint = "look at that file, and ask again"
	}
	b.Message = fmt.Sprintf("%s stays as it is: %s", id, err)
	return &FailedError{homeOf(pool), b, -1}
}
