//go:build !linux && !darwin && !windows

package rpc

import (
	"errors"
	"net"
	"syscall"
	"time"
)

const modesCount = false

// PeerOf cannot tell on this system.
func PeerOf(*net.UnixConn) (Peer, error) {
	return Peer{}, errors.New("this system does not tell who connects to a socket")
}

func restrictSocket(uintptr) error { return nil }

// waitHangup takes the end of input for the end of the connection.
func waitHangup(syscall.RawConn) error { return nil }

const hangupTick time.Duration = 0

func descriptorLimit() int { return 1 << 20 }
