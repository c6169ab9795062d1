package uv

import (
	"context"
	"errors"

	"runtimed/pool/builder"
)

// Addition is what an environment gets in addition to what it has.
type Addition struct {
	Env    string            // its folder, and the mark of children
	Python string            // its Python
	Minor  string            // that one's version, without its last part
	Have   []builder.Package // the Python packages that it has
	Keep   bool              // these keep their versions, or the addition fails; else they do where that is possible
	Lines  []string          // of a requirements file
	Dir    string            // from which paths in Lines start; empty: there are none
	What   string            // Lines in words, for messages: "ipykernel"
}

// Add resolves and installs an addition with uv. What was resolved once is kept in a lock file, and installed again
// from uv's cache. It leaves what the environment has already. The error is a *builder.Error.
func (u *Builder) Add(ctx context.Context, a Addition, progress func(builder.Stage)) error {
	return errors.New("not yet")
}
