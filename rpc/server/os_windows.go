package server

import (
	"syscall"
	"time"
)

// waitHangup is not needed: neither side of a pipe in byte mode can be closed alone.
func waitHangup(syscall.RawConn) error { return nil }

const hangupTick time.Duration = 0

func descriptorLimit() int { return 1 << 20 }
