//go:build unix

package rpc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"runtimed/internal/statedir"
)

const endpointWord = "socket"

// Listen opens the daemon's socket. The caller holds the daemon's lock, so a socket that refuses connections is
// left over, and is replaced. One that accepts them is [ErrSocketInUse], and anything else is left alone. The
// folder must be open to its owner only (0700), or be root's and lent to us. The socket has mode 0600 from the
// first moment. Closing the listener leaves the file.
func Listen(path string) (*net.UnixListener, error) {
	if err := CheckSocketPath(runtime.GOOS, path); err != nil {
		return nil, err
	}
	if err := checkFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		if cerr := raw.Control(func(fd uintptr) { err = restrictSocket(fd) }); cerr != nil {
			return cerr
		}
		return err
	}}
	ln, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("opening socket: %w", err)
	}
	ul := ln.(*net.UnixListener)
	ul.SetUnlinkOnClose(false)
	// For a umask that takes even the owner's rights, and for macOS.
	if err := os.Chmod(path, 0o600); err != nil {
		ul.Close()
		os.Remove(path)
		return nil, fmt.Errorf("opening socket: %w", err)
	}
	return ul, nil
}

func checkFolder(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("opening socket: %w", err)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 && !statedir.IsLent(info) {
		return fmt.Errorf("folder %s of the socket is open to others (mode %04o): "+
			"set %s to a path in a folder of your own, with mode 0700", dir, perm, envSocket)
	}
	return nil
}

// removeStale looks first, since a plain file refuses connections like a dead socket.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("opening socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is in the way: it is not a socket, so it is left alone; move it, or set %s",
			path, envSocket)
	}
	err = inUse(path)
	if errors.Is(err, syscall.ECONNREFUSED) {
		err = os.Remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// dial tries again while the daemon's queue of connections is full: Linux fails then instead of waiting.
func dial(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", path)
	for errors.Is(err, syscall.EAGAIN) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
		nc, err = d.DialContext(ctx, "unix", path)
	}
	if err != nil {
		return nil, err
	}
	if err := checkPeer(nc, path); err != nil {
		nc.Close()
		return nil, err
	}
	return nc, nil
}

// DialPath connects to a socket of the user's own, such as a standby's. It trusts whom [Dial] trusts.
func DialPath(ctx context.Context, path string) (*net.UnixConn, error) {
	nc, err := dial(ctx, path)
	if err != nil {
		return nil, err
	}
	return nc.(*net.UnixConn), nil
}

func isFile(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().Type() == 0
}
