//go:build unix

package supervisor

import (
	"os"

	"golang.org/x/sys/unix"
)

// listens reports whether f is a listening stream socket.
func listens(f *os.File) bool {
	kind, err := unix.GetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_TYPE)
	listens, lerr := unix.GetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return err == nil && lerr == nil && kind == unix.SOCK_STREAM && listens != 0
}
