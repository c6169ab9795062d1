package rpc

import (
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/windows"
)

// systemConn is a connection whose other end the system knows: one end of a pipe.
type systemConn interface {
	net.Conn
	Fd() uintptr
}

// PeerOf asks the system who is at the other end. The user is ours: the pipe's descriptor lets nobody else connect.
func PeerOf(nc systemConn) (Peer, error) {
	var pid uint32
	if err := windows.GetNamedPipeClientProcessId(windows.Handle(nc.Fd()), &pid); err != nil {
		return Peer{}, fmt.Errorf("asking who connects: %w", err)
	}
	return Peer{UID: os.Getuid(), PID: int(pid)}, nil
}

// waitHangup is not needed: neither side of a pipe in byte mode can be closed alone.
func waitHangup(syscall.RawConn) error { return nil }

const hangupTick time.Duration = 0

// descriptorLimit is what a process may have of handles, which is more than the contract's limit of connections.
func descriptorLimit() int { return 1 << 20 }
