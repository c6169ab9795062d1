package standby

import (
	"fmt"
	"net"
	"os"

	"runtimed/internal/statedir"
)

// Listen opens the socket of a standby. Only the user can connect to it.
func Listen(path string) (*net.UnixListener, error) {
	addr := &net.UnixAddr{Name: path, Net: "unix"}
	listener, err := net.ListenUnix("unix", addr)
	if err != nil && statedir.SocketIsDead(path) { // what a killed daemon left
		if err := statedir.RemoveStandby(path); err != nil {
			return nil, err
		}
		listener, err = net.ListenUnix("unix", addr)
	}
	if err != nil {
		return nil, fmt.Errorf("opening its socket: %w", err)
	}
	listener.SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("opening its socket: %w", err)
	}
	return listener, nil
}
