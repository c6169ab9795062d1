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
	"strings"
	"syscall"
	"time"
)

// The variables that say where the socket is.
const (
	envSocket = "RUNTIMED_SOCKET"
	envCache  = "XDG_CACHE_HOME"
	envHome   = "HOME"
)

// askTime bounds how long Listen asks whoever answers on its path for a name.
const askTime = time.Second

// ErrSocketInUse is what Listen returns where something accepts connections on the path. The text around it says who.
var ErrSocketInUse = errors.New("socket in use")

// SocketPath is where the daemon listens: RUNTIMED_SOCKET, else runtimed.sock in [StateDir].
// It is a function of the environment alone, so that clients in other languages find the same place.
// An empty variable counts as unset; what is relative or too long is refused by the name of its variable.
func SocketPath(goos string, env func(string) string) (string, error) {
	path := env(envSocket)
	if path == "" && goos == "windows" {
		user := env("USERNAME")
		if user == "" {
			return "", errors.New("USERNAME is not set, so the pipe has no name")
		}
		return `\\.\pipe\runtimed-` + strings.ToLower(user), nil
	}
	if path == "" {
		dir, err := StateDir(goos, env)
		if err != nil {
			return "", err
		}
		path = dir + "/runtimed.sock"
	} else if !isAbs(goos, path) {
		return "", fmt.Errorf("%s is %q, which is not an absolute path", envSocket, path)
	}
	if err := CheckSocketPath(goos, path); err != nil {
		return "", err
	}
	return path, nil
}

// StateDir is the folder of everything the daemon keeps, and by default of its socket.
// Trailing slashes of the variable are dropped; nothing else of it is changed, and no symlink followed.
func StateDir(goos string, env func(string) string) (string, error) {
	home, rest := envHome, "/.cache/runt"
	switch goos {
	case "windows":
		home, rest = "LOCALAPPDATA", `\runt`
	case "darwin":
		rest = "/Library/Caches/runt"
	default:
		if cache := env(envCache); isAbs(goos, cache) {
			return strings.TrimRight(cache, "/") + "/runt", nil
		}
	}
	dir := env(home)
	switch {
	case dir == "":
		return "", fmt.Errorf("%s is not set, so there is no place for the socket: set it, or %s", home, envSocket)
	case !isAbs(goos, dir):
		return "", fmt.Errorf("%s is %q, which is not an absolute path", home, dir)
	case goos == "windows":
		return strings.TrimRight(dir, `\/`) + rest, nil
	}
	return strings.TrimRight(dir, "/") + rest, nil
}

// isAbs asks for the named system, not for the one we run on.
func isAbs(goos, path string) bool {
	if goos == "windows" {
		return strings.HasPrefix(path, `\\`) || len(path) > 2 && path[1] == ':' && (path[2] == '\\' || path[2] == '/')
	}
	return strings.HasPrefix(path, "/")
}

// CheckSocketPath refuses a path that does not fit a socket address, whose own error would be "invalid argument".
func CheckSocketPath(goos, path string) error {
	limit := 103
	switch goos {
	case "linux":
		limit = 107
	case "windows":
		return nil
	}
	if len(path) > limit {
		return fmt.Errorf("socket path %s is %d bytes long, and this system allows %d: set %s to a shorter one",
			path, len(path), limit, envSocket)
	}
	return nil
}

// Listen opens the daemon's socket. The caller holds the lock, so whatever refuses connections there is left over and is
// replaced; but something that accepts is [ErrSocketInUse], and what is no socket is never touched.
// The folder must be its owner's alone (0700), and the socket is 0600 from the moment it exists, whatever the umask.
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
	if perm := info.Mode().Perm(); perm&0o077 != 0 && modesCount {
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

func who(ctx context.Context, c *Client) string {
	defer c.Close()
	var info Info
	if err := c.Call(ctx, MethodInfo, nil, &info); err != nil {
		return fmt.Sprintf("a program that does not say who it is (%v)", err)
	}
	return fmt.Sprintf("%s %s, pid %d", info.Name, info.Version, info.PID)
}
