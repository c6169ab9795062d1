package server

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// waitHangup returns nil when the other end of a half-closed connection is closed for good. It sleeps in the
// runtime's poller, and so takes no thread.
func waitHangup(raw syscall.RawConn) error {
	return raw.Read(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd)}} // POLLHUP and POLLERR come unasked
		n, err := unix.Poll(fds, 0)
		return err == nil && n > 0 && fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
	})
}

// hangupTick is how often waitHangup must be called again; 0: never.
const hangupTick time.Duration = 0
