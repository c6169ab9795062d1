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

// descriptorLimit is more than the contract's limit of connections: a process may have that many handles.
func descriptorLimit() int { return 1 << 20 }

// shortage reports whether connections can be accepted again later.
func shortage(err error) bool {
	return errors.Is(err, windows.ERROR_TOO_MANY_OPEN_FILES) || errors.Is(err, windows.ERROR_NOT_ENOUGH_MEMORY) ||
		errors.Is(err, windows.ERROR_NO_SYSTEM_RESOURCES)
}
