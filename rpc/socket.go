package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"runtimed/internal/statedir"
)

const (
	envSocket = "RUNTIMED_SOCKET"
	envCache  = "XDG_CACHE_HOME"
	envHome   = "HOME"
)

const askTime = time.Second

// ErrSocketInUse is what Listen returns if something accepts connections on the path. The text around it says who.
var ErrSocketInUse = errors.New("socket in use")

const pipes = `\\.\pipe\`

// SocketPath is where the daemon listens: RUNTIMED_SOCKET, else runtimed.sock in [StateDir]; on Windows a pipe of
// the user's name. It depends on the environment and the mounts only, so that clients in other languages find the same
// place. An empty variable counts as unset.
func SocketPath(goos string, env func(string) string) (string, error) {
	return SocketPathBy(goos, env, "")
}

// SocketPathBy is SocketPath where the file mountinfo lists the mounts; empty is the system's.
func SocketPathBy(goos string, env func(string) string, mountinfo string) (string, error) {
	path := env(envSocket)
	if path == "" && goos == "windows" {
		user := env("USERNAME")
		if user == "" {
			return "", errors.New("USERNAME is not set, so the pipe has no name")
		}
		return pipes + "runtimed-" + strings.Map(lowerASCII, user), nil
	}
	if path == "" {
		dir, err := stateDir(goos, env, mountinfo)
		if err != nil {
			return "", err
		}
		path = dir + "/runtimed.sock"
	} else if goos != "windows" && !isAbs(goos, path) {
		return "", fmt.Errorf("%s is %q, which is not an absolute path", envSocket, path)
	}
	if err := checkUTF8(envSocket, path); err != nil {
		return "", err
	}
	if err := CheckSocketPath(goos, path); err != nil {
		return "", err
	}
	return path, nil
}

// StateDir is the folder of everything the daemon keeps: [UsualDir], or on Linux, if that is on a network file system,
// a folder on the machine's own disk. Other machines see the network's, and neither locks, sockets nor processes of
// theirs can be told from it. The error says that another user has made that folder.
func StateDir(goos string, env func(string) string) (string, error) { return stateDir(goos, env, "") }

func stateDir(goos string, env func(string) string, mountinfo string) (string, error) {
	dir, err := UsualDir(goos, env)
	if err == nil && goos == "linux" {
		dir = statedir.Local(dir, mountinfo)
		err = statedir.CheckLocal(dir)
	}
	return dir, err
}

// UsualDir is the state directory as the environment alone tells. Trailing slashes of the variable are dropped; no
// symlink is followed.
func UsualDir(goos string, env func(string) string) (string, error) {
	home, rest, slashes := envHome, "/.cache/runt", "/"
	switch goos {
	case "windows":
		home, rest, slashes = "LOCALAPPDATA", `\runt`, `\/`
	case "darwin":
		rest = "/Library/Caches/runt"
	default:
		if isAbs(goos, env(envCache)) {
			home, rest = envCache, "/runt"
		}
	}
	dir := env(home)
	switch {
	case dir == "" && home == envHome:
		return "", fmt.Errorf("%s, so there is no place for the socket: set it, or %s", statedir.NoHome, envSocket)
	case dir == "":
		return "", fmt.Errorf("%s is not set, so there is no place for the socket: set it, or %s", home, envSocket)
	case !isAbs(goos, dir):
		return "", fmt.Errorf("%s is %q, which is not an absolute path", home, dir)
	}
	return strings.TrimRight(dir, slashes) + rest, checkUTF8(home, dir)
}

// checkUTF8 refuses a place whose paths could not travel in messages.
func checkUTF8(name, value string) error {
	if !utf8.ValidString(value) {
		return fmt.Errorf("%s is %q, which is not UTF-8", name, value)
	}
	return nil
}

// lowerASCII leaves other letters alone, since their lower case depends on the language.
func lowerASCII(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		r += 'a' - 'A'
	}
	return r
}

// isAbs is filepath.IsAbs for the system goos.
func isAbs(goos, path string) bool {
	if goos == "windows" {
		return strings.HasPrefix(path, `\\`) || len(path) > 2 && path[1] == ':' && (path[2] == '\\' || path[2] == '/')
	}
	return strings.HasPrefix(path, "/")
}

// CheckSocketPath refuses a path that is too long for a socket address, or on Windows is not the name of a pipe.
func CheckSocketPath(goos, path string) error {
	if goos == "windows" {
		if len(path) <= len(pipes) || !strings.EqualFold(path[:len(pipes)], pipes) {
			return fmt.Errorf("%s is not the name of a pipe: set %s to one that begins with %s", path, envSocket, pipes)
		}
		return nil
	}
	if limit := statedir.MostSocketPath(goos); len(path) > limit {
		return fmt.Errorf("socket path %s is %d bytes long, and this system allows %d: set %s to a shorter one",
			path, len(path), limit, envSocket)
	}
	return nil
}

// inUse asks the program on path who it is. The error wraps that of connecting, if there is one.
func inUse(path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	nc, err := dial(ctx, path)
	if err != nil {
		return fmt.Errorf("%s: %w by a program that cannot be asked: %w", path, ErrSocketInUse, err)
	}
	c := newClient(nc, path, ClientOptions{})
	defer c.Close()
	var info Info
	if err := c.Call(ctx, MethodInfo, nil, &info); err != nil {
		return fmt.Errorf("%s: %w by a program that does not say who it is (%w)", path, ErrSocketInUse, err)
	}
	return fmt.Errorf("%s: %w by %s %s, pid %d", path, ErrSocketInUse, info.Name, info.Version, info.PID)
}
