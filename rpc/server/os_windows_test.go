package server

import (
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"testing"

	"github.com/Microsoft/go-winio"
	"golang.org/x/sys/windows"

	"runtimed/internal/testkit"
	"runtimed/rpc"
)

// errShort is what the system says where handles are short.
const errShort = windows.ERROR_TOO_MANY_OPEN_FILES

// halfCloses says whether one side of a connection can be closed alone.
const halfCloses = false

var places atomic.Int32

// place is where a server of the test's own may listen.
func place(testing.TB) string {
	return fmt.Sprintf(`\\.\pipe\runtimed-test-%d-%d`, os.Getpid(), places.Add(1))
}

func shortDir(t testing.TB) string { return t.TempDir() }

func dialBare(path string) (net.Conn, error) { return winio.DialPipe(path, nil) }

// pairs makes connections, one end for the client and one for the server.
func pairs(t testing.TB) func(t testing.TB) (client, server net.Conn) {
	ln, err := rpc.Listen(place(t))
	testkit.Check(t, err)
	t.Cleanup(func() { ln.Close() })
	return func(t testing.TB) (client, server net.Conn) {
		t.Helper()
		dialled := make(chan error)
		go func() {
			var err error
			client, err = dialBare(ln.Addr().String())
			dialled <- err
		}()
		server, err := ln.Accept()
		testkit.Check(t, err)
		testkit.Check(t, <-dialled)
		return client, server
	}
}
