package pool

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// needsKept is how long the lock file of needs stays that nobody has again.
const needsKept = 30 * 24 * time.Hour

// Prepare finds uv and the Python for spec, and resolves it.
func (u *UV) Prepare(ctx context.Context, spec Spec, mark string, age time.Duration, progress func(Stage)) (string, error) {
	u.forgetNeeds()
	from, err := u.prepare(ctx, spec, mark, age, progress)
	return from.python.Version, err
}

// Extend brings the finished environment at dir to what spec was resolved to, and verifies it.
func (u *UV) Extend(ctx context.Context, spec Spec, dir string, progress func(Stage)) (Built, error) {
	from, err := u.prepare(ctx, spec, dir, 0, progress)
	if err != nil {
		return Built{}, err
	}
	return u.populate(ctx, from, dir, progress)
}

// resolveLike resolves into the file out so that what the lock file like names keeps its version where that goes together; uv prefers
// what stands in its output file. What uv's cache knows is enough where it has all: it is asked first, as that takes milliseconds.
func (u *UV) resolveLike(ctx context.Context, tool, mark, like, out string, argv []string) error {
	var err error
	for _, flag := range []string{"--offline", ""} {
		if data, readErr := os.ReadFile(like); readErr == nil {
			if err := os.WriteFile(out, data, 0o600); err != nil {
				return diskError(err)
			}
		}
		args := argv
		if flag != "" {
			args = append(argv[:len(argv):len(argv)], flag)
		}
		if _, err = u.uv(ctx, tool, mark, args...); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// interpreterFor finds the Python for spec. Where the Python of the pool will do for what was asked for, it is that one: then an
// environment of the pool can be extended.
func (u *UV) interpreterFor(ctx context.Context, tool, mark string, spec Spec, progress func(Stage)) (interpreter, error) {
	if !specifiers(spec.Python) {
		python, err := u.interpreter(ctx, tool, mark, spec.Python, progress)
		if err == nil && !satisfies(python.Version, spec.Fits) {
			err = &BuildError{
				Cause: CausePythonMissing, Message: fmt.Sprintf("needs Python %s, and %s is %s", spec.Fits, spec.Python, python.Version),
				Hint: "name another one, or leave it to the daemon to find one",
			}
		}
		return python, err
	}
	if spec.Like != nil {
		python, err := u.interpreter(ctx, tool, mark, spec.Like.Python, progress)
		if err == nil && satisfies(python.Version, spec.Python) {
			return python, nil
		}
		if ctx.Err() != nil {
			return interpreter{}, ctx.Err()
		}
	}
	return u.interpreter(ctx, tool, mark, spec.Python, progress)
}

// forgetNeeds removes lock files of needs that were last resolved long ago.
func (u *UV) forgetNeeds() {
	dir := filepath.Join(u.dir, "locks", "needs")
	entries, _ := os.ReadDir(dir) // where it cannot be read, nothing is lost
	for _, e := range entries {
		if path := filepath.Join(dir, e.Name()); strings.HasSuffix(path, ".txt") && older(path, needsKept) {
			_ = os.Remove(path)
		}
	}
}
