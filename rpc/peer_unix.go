//go:build unix

package rpc

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// PeerOf asks the kernel who is at the other end. If that is not a Unix socket, the error is
// [errors.ErrUnsupported].
func PeerOf(nc net.Conn) (peer Peer, err error) {
	uc, ok := nc.(*net.UnixConn)
	if !ok {
		return Peer{}, errors.ErrUnsupported
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	if cerr := raw.Control(func(fd uintptr) { peer, err = peerOf(int(fd)) }); cerr != nil {
		return Peer{}, cerr
	}
	if err != nil {
		return Peer{}, fmt.Errorf("asking who connects: %w", err)
	}
	return peer, nil
}

// checkPeer refuses the daemon of a stranger, who may have been first at the path, before anything is sent.
func checkPeer(nc net.Conn, path string) error {
	peer, err := PeerOf(nc)
	return checkOwner(peer, err, os.Geteuid(), path)
}

// checkOwner is checkPeer for user own, with what the kernel says.
func checkOwner(peer Peer, err error, own int, path string) error {
	switch {
	case errors.Is(err, syscall.ENOTCONN), errors.Is(err, syscall.EINVAL): // macOS forgets who it was
		return Errorf(KindClosed, "%s closed the connection without an answer", path)
	case err != nil:
		return untrusted(path, "an unknown user ("+err.Error()+")")
	case Trusts(own, peer.UID):
		return nil
	case peer.UID == own:
		return untrusted(path, fmt.Sprintf("a user outside this user namespace (shown as uid %d)", peer.UID))
	}
	return untrusted(path, fmt.Sprintf("another user (uid %d)", peer.UID))
}
