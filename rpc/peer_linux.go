package rpc

import "golang.org/x/sys/unix"

func peerOf(fd int) (Peer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Peer{}, err
	}
	return Peer{UID: int(cred.Uid), PID: int(cred.Pid)}, nil
}

// restrictSocket sets the mode that the file gets: Linux takes it from the socket itself.
func restrictSocket(fd uintptr) error { return unix.Fchmod(int(fd), 0o600) }
