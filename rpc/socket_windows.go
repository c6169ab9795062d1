package rpc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"runtime"

	"github.com/Microsoft/go-winio"
	"golang.org/x/sys/windows"
)

const endpointWord = "pipe"

// pipeBuffer lets a usual answer be written at once, even if the client reads later.
const pipeBuffer = 64 << 10

// Listen opens the daemon's pipe for its owner alone, on this machine. A pipe ends with its process, so a name
// that is taken is [ErrSocketInUse].
func Listen(path string) (net.Listener, error) {
	if err := CheckSocketPath(runtime.GOOS, path); err != nil {
		return nil, err
	}
	// Windows makes a name once, but Wine makes a second pipe of it, and neither answers then.
	if err := inUse(path); !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return nil, fmt.Errorf("opening pipe: asking for our own user: %w", err)
	}
	sid := user.User.Sid.String()
	// The owner is named because an elevated process would make its group the owner.
	// P: nothing is inherited; GA: all rights, for that one user.
	ln, err := winio.ListenPipe(path, &winio.PipeConfig{
		SecurityDescriptor: "O:" + sid + "D:P(A;;GA;;;" + sid + ")",
		InputBufferSize:    pipeBuffer,
		OutputBufferSize:   pipeBuffer,
	})
	switch {
	case err == nil:
		closeFirst(path)
		return ln, nil
	case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrExist): // what the system says of a name that is taken
		return nil, inUse(path)
	}
	return nil, fmt.Errorf("opening pipe: %w", err)
}

// closeFirst takes the first instance of a new pipe. It is there to hold the name, and nobody is to connect to it, but
// Wine lets one in, who would wait for an answer for ever. Windows lets nobody in, and says that the pipe is busy.
func closeFirst(path string) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return
	}
	h, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil, windows.OPEN_EXISTING, 0, 0)
	if err == nil {
		_ = windows.CloseHandle(h)
	}
}

// dial waits while the daemon is between two connections.
func dial(ctx context.Context, path string) (net.Conn, error) {
	nc, err := winio.DialPipeContext(ctx, path)
	if err != nil {
		return nil, err
	}
	if err := checkPeer(nc, path); err != nil {
		nc.Close()
		return nil, err
	}
	return nc, nil
}

// isFile is never true here: looking would connect.
func isFile(string) bool { return false }
