//go:build unix

package safefile

import (
	"errors"
	"syscall"
)

// IsShort reports whether descriptors or memory are short, which passes.
func IsShort(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM) ||
		errors.Is(err, syscall.ENOBUFS)
}
