//go:build unix

package server

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"runtimed/internal/testkit"
)

// errShort is what the system says where descriptors are short.
const errShort = syscall.EMFILE

// halfCloses says whether one side of a connection can be closed alone.
const halfCloses = true

// place is where a server of the test's own may listen. The path leaves room for a socket's name on every system.
func place(t testing.TB) string { return filepath.Join(shortDir(t), "s") }

func shortDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "rt")
	testkit.Check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func dialBare(path string) (net.Conn, error) { return net.Dial("unix", path) }

// pairs makes connections, one end for the client and one for the server.
func pairs(testing.TB) func(t testing.TB) (client, server net.Conn) {
	return func(t testing.TB) (client, server net.Conn) { return socketPair(t) }
}

func socketPair(t testing.TB) (client, server *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	testkit.Check(t, err)
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		nc, err := net.FileConn(f)
		f.Close()
		testkit.Check(t, err)
		ends[i] = nc.(*net.UnixConn)
	}
	return ends[0], ends[1]
}
