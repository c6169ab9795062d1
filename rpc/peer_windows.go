package rpc

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/windows"
)

// pipeConn is one end of a pipe.
type pipeConn interface {
	net.Conn
	Fd() uintptr
}

// PeerOf asks the system who is at the other end. The user is ours: the pipe's descriptor lets nobody else connect.
func PeerOf(nc net.Conn) (Peer, error) {
	pipe, ok := nc.(pipeConn)
	if !ok {
		return Peer{}, errors.ErrUnsupported
	}
	var pid uint32
	if err := windows.GetNamedPipeClientProcessId(windows.Handle(pipe.Fd()), &pid); err != nil {
		return Peer{}, fmt.Errorf("asking who connects: %w", err)
	}
	return Peer{UID: os.Getuid(), PID: int(pid)}, nil
}
