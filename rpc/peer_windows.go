package rpc

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/windows"
)

type pipeConn interface {
	net.Conn
	Fd() uintptr
}

// PeerOf asks the system who is at the other end. The user is always our own: the pipe lets nobody else connect.
// If nc is not a pipe, the error is [errors.ErrUnsupported].
func PeerOf(nc net.Conn) (Peer, error) {
	pipe, ok := nc.(pipeConn)
	if !ok {
		return Peer{}, errors.ErrUnsupported
	}
	h := windows.Handle(pipe.Fd())
	var end, pid uint32
	err := windows.GetNamedPipeInfo(h, &end, nil, nil, nil)
	switch {
	case err != nil:
	case end&windows.PIPE_SERVER_END != 0:
		err = windows.GetNamedPipeClientProcessId(h, &pid)
	default:
		err = windows.GetNamedPipeServerProcessId(h, &pid)
	}
	if err != nil {
		return Peer{}, fmt.Errorf("asking who connects: %w", err)
	}
	return Peer{UID: os.Getuid(), PID: int(pid)}, nil
}

// checkPeer refuses a pipe of another user: anybody may make one of that name while no daemon runs.
func checkPeer(nc net.Conn, path string) error {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return err
	}
	pipe, ok := nc.(pipeConn)
	if !ok {
		return errors.ErrUnsupported
	}
	sd, err := windows.GetSecurityInfo(windows.Handle(pipe.Fd()), windows.SE_KERNEL_OBJECT,
		windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return err
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return err
	}
	if !owner.Equals(user.User.Sid) {
		return untrusted(path, "another user ("+owner.String()+")")
	}
	return nil
}
