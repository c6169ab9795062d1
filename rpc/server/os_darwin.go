package server

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// waitHangup returns nil when the other end of a half-closed connection is closed for good: then writing fails
// too. (poll reports POLLHUP for a half close already.)
func waitHangup(raw syscall.RawConn) error {
	kq, err := unix.Kqueue()
	if err != nil {
		return err
	}
	defer unix.Close(kq)
	unix.CloseOnExec(kq)
	return raw.Read(func(fd uintptr) bool {
		change := make([]unix.Kevent_t, 1)
		unix.SetKevent(&change[0], int(fd), unix.EVFILT_WRITE, unix.EV_ADD|unix.EV_ONESHOT)
		events := make([]unix.Kevent_t, 1)
		n, err := unix.Kevent(kq, change, events, &unix.Timespec{})
		return isHungUp(n, events[0].Flags, err)
	})
}

// hangupTick is for a missed wake-up.
const hangupTick = time.Second

// This does not compile if the header has other flags.
var _ = [1]int{}[(evError^unix.EV_ERROR)|(evEOF^unix.EV_EOF)]
