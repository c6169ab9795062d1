//go:build unix

package rpc

import "net"

// systemConn is a connection whose other end the system knows.
type systemConn = *net.UnixConn
