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

// PeerOf asks the kernel who is at the other end. PID is 0 where that process is in another pid namespace.
func PeerOf(nc *net.UnixConn) (Peer, error) {
	raw, err := nc.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var cred *unix.Ucred
	cerr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if cerr != nil {
		return Peer{}, cerr
	}
	if err != nil {
		return Peer{}, fmt.Errorf("asking who connects: %w", err)
	}
	return Peer{UID: int(cred.Uid), PID: int(cred.Pid)}, nil
}

// restrictSocket sets the mode that the file gets when the socket is bound: here the kernel takes it from the socket itself.
func restrictSocket(fd uintptr) error { return unix.Fchmod(int(fd), 0o600) }

// waitHangup returns nil when the other end of a half-closed connection is closed for good.
// It sleeps in the runtime's poller, which wakes it at each change of the socket, so it takes no thread.
func waitHangup(raw syscall.RawConn) error {
	return raw.Read(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd)}} // POLLHUP and POLLERR come unasked
		n, err := unix.Poll(fds, 0)
		return err == nil && n > 0 && fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
	})
}

// hangupTick is how often waitHangup must be called again; 0: it notices by itself.
const hangupTick time.Duration = 0

func descriptorLimit() int {
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) != nil {
		return 1024
	}
	return int(min(lim.Cur, 1<<20))
}
