package server

import (
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/windows"
)

// waitHangup is not needed: neither side of a pipe in byte mode can be closed alone.
func waitHangup(syscall.RawConn) error { return nil }

const hangupTick time.Duration = 0

// descriptorLimit is what a process may have of handles, which is more than the contract's limit of connections.
func descriptorLimit() int { return 1 << 20 }

// shortage says whether no connection can be accepted for now, and will be again.
func shortage(err error) bool {
	return errors.Is(err, windows.ERROR_TOO_MANY_OPEN_FILES) || errors.Is(err, windows.ERROR_NOT_ENOUGH_MEMORY) ||
		errors.Is(err, windows.ERROR_NO_SYSTEM_RESOURCES)
}
