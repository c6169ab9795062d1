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

func descriptorLimit() int { return 1 << 20 }

func shortage(err error) bool {
	return errors.Is(err, windows.ERROR_TOO_MANY_OPEN_FILES) || errors.Is(err, windows.ERROR_NOT_ENOUGH_MEMORY) ||
		errors.Is(err, windows.ERROR_NO_SYSTEM_RESOURCES)
}
