package pool

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// UnknownPoolError names the pools there are.
type UnknownPoolError struct {
	Name  string
	Pools []string
}

func (e *UnknownPoolError) Error() string {
	return fmt.Sprintf("no pool is named %q; there are %s", e.Name, strings.Join(e.Pools, ", "))
}

// OffError says that a pool has size 0 and nothing ready.
type OffError struct{ Name string }

func (e *OffError) Error() string { return fmt.Sprintf("the pool %s is off (size 0)", e.Name) }

// KindError says that a pool is of another kind than what was asked for.
type KindError struct {
	Pool, Kind string
	For        string // a project's file, or an interpreter
}

func (e *KindError) Error() string {
	return fmt.Sprintf("the pool %s is of the kind %s, which makes no environment for %s", e.Pool, e.Kind, e.For)
}

// EmptyError says that no environment came in time.
type EmptyError struct {
	Name    string
	Waited  time.Duration
	Warming int
	Needs   bool // more was asked for than the pool has
	Project bool // a project's was asked for
	Lock    bool // its lock file was asked for
}

func (e *EmptyError) Error() string {
	what := "none is warming"
	if e.Warming > 0 {
		what = fmt.Sprintf("%d warming", e.Warming)
	}
	if e.Lock {
		return fmt.Sprintf("the pool %s has no lock file yet: nothing was built within %s, %s", e.Name, e.Waited, what)
	}
	return fmt.Sprintf("the pool %s had no environment ready within %s, %s",
		e.Name, e.Waited.Round(time.Millisecond), what)
}

// FailedError says that waiting is pointless, since builds fail.
type FailedError struct {
	Name      string
	Build     *builder.Error
	NextRetry time.Duration // from now; less than 0: only if somebody asks again
}

func (e *FailedError) Error() string { return e.Build.Message }
func (e *FailedError) Unwrap() error { return e.Build }

// unwritten is the error for a change of a lease that cannot be written. The environment stays as it was.
func unwritten(id, pool string, err error) *FailedError {
	var b *builder.Error
	errors.As(envdir.DiskError(err), &b)
	if s := builder.MachineSymptom(err.Error()); s != nil {
		b.Cause, b.Hint = s.Cause, s.Hint
	}
	if b.Hint == "" {
		b.Hint = "check that file, and ask again"
	}
	b.Message = fmt.Sprintf("%s stays as it is: %s", id, err)
	return &FailedError{baseOf(pool), b, -1}
}
