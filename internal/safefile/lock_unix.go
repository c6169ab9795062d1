//go:build unix

package safefile

import "github.com/gofrs/flock"

type flocked = flock.Flock

func newFlocked(path string, flag int) *flocked {
	return flock.New(path, flock.SetFlag(flag), flock.SetPermissions(0o600))
}
