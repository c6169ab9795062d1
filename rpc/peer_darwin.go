package rpc

import (
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// modesCount says whether the mode of a folder keeps others out.
const modesCount = true

// PeerOf asks the kernel who is at the other end.
func PeerOf(nc *net.UnixConn) (Peer, error) {
	raw, err := nc.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var peer Peer
	cerr := raw.Control(func(fd uintptr) {
		var cred *unix.Xucred
		if cred, err = unix.GetsockoptXucred(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERCRED); err != nil {
			return
		}
		peer.UID = int(cred.Uid)
		peer.PID, err = unix.GetsockoptInt(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERPID)
	})
	if cerr != nil {
		return Peer{}, cerr
	}
	if err != nil {
		return Peer{}, fmt.Errorf("asking who connects: %w", err)
	}
	return peer, nil
}

// restrictSocket can do nothing here: the file's mode follows the umask, and the folder (0700) keeps others out until chmod.
func restrictSocket(uintptr) error { return nil }

// waitHangup returns nil when the other end of a half-closed connection is closed for good: then writing is at its end as well.
// (poll says POLLHUP for a half close already.)
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
		return err == nil && n > 0 && events[0].Flags&unix.EV_EOF != 0
	})
}

// hangupTick is how often waitHangup must be called again, should its wake-up be missed.
const hangupTick = time.Second

func descriptorLimit() int {
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) != nil {
		return 256
	}
	return int(min(lim.Cur, 1<<20))
}
