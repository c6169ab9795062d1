package rpc

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime"
	"sync"

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
	config := &winio.PipeConfig{
		SecurityDescriptor: "O:" + sid + "D:P(A;;GA;;;" + sid + ")",
		InputBufferSize:    pipeBuffer,
		OutputBufferSize:   pipeBuffer,
	}
	for admits := firstAdmits(); ; { // until nobody is quicker than we are
		ln, err := winio.ListenPipe(path, config)
		switch {
		case err == nil && (!admits || enter(path)):
			return ln, nil
		case err == nil:
			_ = ln.Close() // which tells who is in there to dial again
		case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrExist):
			return nil, inUse(path) // the system says so of a name that is taken
		default:
			return nil, fmt.Errorf("opening pipe: %w", err)
		}
	}
}

// firstAdmits says whether the first instance of a new pipe admits a client, who would wait for an answer for ever: it
// is there to hold the name. Windows keeps everybody out, and Wine admits one.
var firstAdmits = sync.OnceValue(func() bool {
	path := fmt.Sprintf(`\\.\pipe\runtimed-%d-%s`, os.Getpid(), rand.Text())
	ln, err := winio.ListenPipe(path, nil)
	if err != nil {
		return false
	}
	defer ln.Close()
	return enter(path)
})

// enter takes the first instance of a pipe, if that can be had, and leaves it to nobody.
func enter(path string) bool {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return false
	}
	h, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil, windows.OPEN_EXISTING, 0, 0)
	if err != nil {
		return false
	}
	_ = windows.CloseHandle(h)
	return true
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
