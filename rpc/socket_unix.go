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

// endpointWord is what people call the thing that the daemon listens on.
const endpointWord = "socket"

// Listen opens the daemon's socket. The caller holds the lock, so whatever refuses connections there is left over and is
// replaced; but something that accepts is [ErrSocketInUse], and what is no socket is never touched.
// The folder must be its owner's alone (0700), or root's and lent to us, and the socket is 0600 from the moment it exists, whatever the umask.
// Closing the listener leaves the file: only who holds the lock may remove it.
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
	// For a umask that takes even the owner's rights, and for systems where restrictSocket can do nothing.
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
		return fmt.Errorf("folder %s of the socket is open to others (mode %04o): set %s to a path in a folder of your own, with mode 0700", dir, perm, envSocket)
	}
	return nil
}

// removeStale removes a socket that nobody listens on. A plain file refuses connections like a dead socket does, so look first.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("opening socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is in the way: it is no socket, so it is left alone; move it, or set %s", path, envSocket)
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	nc, err := dial(ctx, path)
	if errors.Is(err, syscall.ECONNREFUSED) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing a left-over socket: %w", err)
		}
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w by a program that cannot be asked: %w", path, ErrSocketInUse, err)
	}
	return fmt.Errorf("%s: %w by %s", path, ErrSocketInUse, who(ctx, newClient(nc, path, ClientOptions{})))
}

// dial gives a connection to a daemon of our own user or of root. It tries again while the daemon's queue of connections is full;
// Linux says so instead of waiting.
func dial(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	for {
		nc, err := d.DialContext(ctx, "unix", path)
		if err == nil {
			if err = checkPeer(nc, path); err != nil {
				nc.Close()
				return nil, err
			}
			return nc, nil
		}
		if !errors.Is(err, syscall.EAGAIN) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// isFile says whether something was put where the socket belongs.
func isFile(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().Type() == 0
}
