package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
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

// pipes is what the names of all pipes of Windows begin with.
const pipes = `\\.\pipe\`

// SocketPath is where the daemon listens: RUNTIMED_SOCKET, else runtimed.sock in [StateDir]; on Windows a pipe of the user's name.
// It is a function of the environment alone, so that clients in other languages find the same place.
// An empty variable counts as unset; what is relative or too long is refused by the name of its variable.
func SocketPath(goos string, env func(string) string) (string, error) {
	path := env(envSocket)
	if path == "" && goos == "windows" {
		user := env("USERNAME")
		if user == "" {
			return "", errors.New("USERNAME is not set, so the pipe has no name")
		}
		return pipes + "runtimed-" + strings.Map(lowerASCII, user), nil
	}
	if path == "" {
		dir, err := StateDir(goos, env)
		if err != nil {
			return "", err
		}
		path = dir + "/runtimed.sock"
	} else if goos != "windows" && !isAbs(goos, path) {
		return "", fmt.Errorf("%s is %q, which is not an absolute path", envSocket, path)
	}
	if !utf8.ValidString(path) {
		return "", notUTF8(envSocket, path)
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
			if !utf8.ValidString(cache) {
				return "", notUTF8(envCache, cache)
			}
			return strings.TrimRight(cache, "/") + "/runt", nil
		}
	}
	dir := env(home)
	switch {
	case dir == "":
		return "", fmt.Errorf("%s is not set, so there is no place for the socket: set it, or %s", home, envSocket)
	case !isAbs(goos, dir):
		return "", fmt.Errorf("%s is %q, which is not an absolute path", home, dir)
	case !utf8.ValidString(dir):
		return "", notUTF8(home, dir)
	case goos == "windows":
		return strings.TrimRight(dir, `\/`) + rest, nil
	}
	return strings.TrimRight(dir, "/") + rest, nil
}

// notUTF8 refuses a place whose paths could not travel: messages are UTF-8.
func notUTF8(name, value string) error {
	return fmt.Errorf("%s is %q, which is not UTF-8", name, value)
}

// lowerASCII leaves all other letters alone, whose lower case is not the same in every language. Windows takes either for a pipe.
func lowerASCII(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		r += 'a' - 'A'
	}
	return r
}

// isAbs asks for the named system, not for the one we run on.
func isAbs(goos, path string) bool {
	if goos == "windows" {
		return strings.HasPrefix(path, `\\`) || len(path) > 2 && path[1] == ':' && (path[2] == '\\' || path[2] == '/')
	}
	return strings.HasPrefix(path, "/")
}

// CheckSocketPath refuses a path that does not fit a socket address, whose own error would be "invalid argument", and on Windows
// what is not the name of a pipe.
func CheckSocketPath(goos, path string) error {
	limit := 103
	switch goos {
	case "linux":
		limit = 107
	case "windows":
		if len(path) <= len(pipes) || !strings.EqualFold(path[:len(pipes)], pipes) {
			return fmt.Errorf("%s is not the name of a pipe: set %s to one that begins with %s", path, envSocket, pipes)
		}
		return nil
	}
	if len(path) > limit {
		return fmt.Errorf("socket path %s is %d bytes long, and this system allows %d: set %s to a shorter one",
			path, len(path), limit, envSocket)
	}
	return nil
}

func who(ctx context.Context, c *Client) string {
	defer c.Close()
	var info Info
	if err := c.Call(ctx, MethodInfo, nil, &info); err != nil {
		return fmt.Sprintf("a program that does not say who it is (%v)", err)
	}
	return fmt.Sprintf("%s %s, pid %d", info.Name, info.Version, info.PID)
}
