//go:build unix

package server

import (
	"errors"
	"syscall"
)

// shortage reports whether connections can be accepted again later.
func shortage(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM) ||
		errors.Is(err, syscall.ENOBUFS)
}
