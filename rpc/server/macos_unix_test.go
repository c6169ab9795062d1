//go:build unix

package server

import (
	"syscall"
	"testing"
)

func TestOnMacOSOnlyAnEndForGoodIsAHangUp(t *testing.T) {
	const add, oneShot = 0x1, 0x10 // EV_ADD and EV_ONESHOT, which come back as they were given
	for _, c := range []struct {
		name  string
		n     int
		flags uint16
		err   error
		want  bool
	}{
		{"closed for good", 1, add | oneShot | evEOF, nil, true},
		{"half closed: it can be written to", 1, add | oneShot, nil, false},
		{"half closed, and the buffer is full", 0, 0, nil, false},
		{"the descriptor cannot be asked", 1, add | evError, nil, false},
		{"the call was interrupted", -1, evEOF, syscall.EINTR, false},
	} {
		if got := isHungUp(c.n, c.flags, c.err); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
