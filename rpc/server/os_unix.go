//go:build unix

package server

import (
	"errors"
	"syscall"
)

// shortage says whether no connection can be accepted for now, and will be again.
func shortage(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM) ||
		errors.Is(err, syscall.ENOBUFS)
}
