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

// endpointWord is what people call the thing that the daemon listens on.
const endpointWord = "pipe"

// pipeBuffer lets an answer of the usual size be written at once, also to a client that reads later.
const pipeBuffer = 64 << 10

// Listen opens the daemon's pipe, for its owner alone and for nobody at another machine. A pipe ends with the process that made it,
// so whatever has the name is alive: that is [ErrSocketInUse].
func Listen(path string) (net.Listener, error) {
	if err := CheckSocketPath(runtime.GOOS, path); err != nil {
		return nil, err
	}
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return nil, fmt.Errorf("opening pipe: who we are: %w", err)
	}
	sid := user.User.Sid.String()
	// The owner is named since an elevated process would make its group the owner. P: nothing is inherited; GA: everything, for
	// that one user.
	ln, err := winio.ListenPipe(path, &winio.PipeConfig{
		SecurityDescriptor: "O:" + sid + "D:P(A;;GA;;;" + sid + ")",
		InputBufferSize:    pipeBuffer,
		OutputBufferSize:   pipeBuffer,
	})
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrExist): // what the system says of a name that is taken
		return nil, inUse(path)
	}
	return nil, fmt.Errorf("opening pipe: %w", err)
}

func inUse(path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	nc, err := dial(ctx, path)
	if err != nil {
		return fmt.Errorf("%s: %w by a program that cannot be asked: %w", path, ErrSocketInUse, err)
	}
	return fmt.Errorf("%s: %w by %s", path, ErrSocketInUse, who(ctx, newClient(nc, path, ClientOptions{})))
}

// dial waits while the daemon is between two connections, which the system calls busy. The other end may not act as us, and has to
// be our own user's: anybody may make a pipe of that name while no daemon runs.
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

func checkPeer(nc net.Conn, path string) error {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return err
	}
	pipe, ok := nc.(pipeConn)
	if !ok {
		return errors.ErrUnsupported
	}
	sd, err := windows.GetSecurityInfo(windows.Handle(pipe.Fd()), windows.SE_KERNEL_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return err
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return err
	}
	if !owner.Equals(user.User.Sid) {
		return untrusted(path, "another user ("+owner.String()+")")
	}
	return nil
}

// isFile is for systems where the endpoint has a place in a file system; to look would be to connect.
func isFile(string) bool { return false }
