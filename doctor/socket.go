package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"

	"runtimed/internal/proc"
	"runtimed/internal/statedir"
	"runtimed/rpc"
)

// answerTime is for an answer on the socket.
const answerTime = 1500 * time.Millisecond

// peer is what is at a socket.
type peer struct {
	kind           peerKind
	err            *rpc.Error // why it is not trusted
	info           *rpc.Info  // of the daemon
	otherNamespace bool       // its PID is another process here
}

type peerKind int

const (
	nobody    peerKind = iota
	answers            // a daemon
	activated          // a service manager listens, and would start one
	notSocket          // something else is at its path
	dead               // its daemon was killed
	forbidden
	mute
	closing
	stranger
	untrusted // another user's
)

// findPeer finds out what is at a socket. With listening it does not connect, which would start a daemon.
func findPeer(ctx context.Context, path string, listening bool) peer {
	if statedir.SocketIsFile {
		info, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrPermission):
			return peer{kind: forbidden}
		case err != nil:
			return peer{kind: nobody}
		case info.Mode().Type() != fs.ModeSocket:
			return peer{kind: notSocket}
		}
	}
	if listening {
		return peer{kind: activated}
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	for tries := 1; ; tries++ {
		info, otherNamespace, err := ask(ctx, path)
		switch kind := rpc.KindOf(err); {
		case err == nil && info.Name == rpc.Name:
			return peer{kind: answers, info: &info, otherNamespace: otherNamespace}
		case kind == rpc.KindTimeout:
			return peer{kind: mute}
		case kind == rpc.KindUnreachable:
			return peer{kind: whyUnreachable(path)}
		case kind == rpc.KindUntrusted:
			p := peer{kind: untrusted}
			errors.As(err, &p.err)
			return p
		case kind != rpc.KindClosed:
			return peer{kind: stranger}
		case tries == 4:
			return peer{kind: closing}
		}
		time.Sleep(50 * time.Millisecond) // a daemon that is ending closes too
	}
}

func ask(ctx context.Context, path string) (info rpc.Info, otherNamespace bool, err error) {
	c, err := rpc.Dial(ctx, path, rpc.ClientOptions{})
	if err != nil {
		return info, false, err
	}
	defer c.Close()
	p, unknown := c.Peer()
	us := rpc.InfoParams{Client: &rpc.ClientInfo{Name: "doctor", Version: rpc.Version()}}
	err = c.Call(ctx, rpc.MethodInfo, us, &info)
	differs := unknown == nil && p.PID != info.PID
	return info, differs && (p.PID == 0 || info.StartedBy != rpc.StartedByService), err
}

// whyUnreachable tells a dead socket from a forbidden one.
func whyUnreachable(path string) peerKind {
	nc, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		_ = nc.Close()
		return closing // it has just started
	case errors.Is(err, syscall.ECONNREFUSED):
		return dead
	case errors.Is(err, fs.ErrPermission):
		return forbidden
	}
	return nobody
}

func checkSocket(_ context.Context, e *Env) Findings {
	path := e.at.Socket
	if e.atErr != nil {
		return problem("%v", e.atErr).
			hint("set RUNTIMED_SOCKET to a short path in a folder of your own, for the daemon and for runt")
	}
	switch e.peer.kind {
	case answers:
		return fine("runtimed %s (pid %d) answers on %s", e.peer.info.Version, e.peer.info.PID, path)
	case activated:
		return fine("a service manager listens on %s, and starts the daemon when somebody asks", path)
	case notSocket:
		return problem("%s is in the way: it is not a socket, so it is left alone", path).
			hint("move it away, or set RUNTIMED_SOCKET")
	case dead:
		return warning("nobody listens on %s: a daemon that was killed has left it", path).
			hint("nothing to do: the next start replaces it; or: runt doctor --fix").
			fixedLockedBy(func() (string, error) { return removeSocket(path) })
	case forbidden:
		return problem("no permission to use the socket %s", path).
			hint("run as the user whose daemon it is, or set RUNTIMED_SOCKET")
	case untrusted:
		return problem("%s", e.peer.err.Message).hint(e.peer.err.Data.Hint)
	case mute:
		return problem("who listens on %s does not answer within %s: it hangs, or was stopped", path, answerTime).
			hint("see what it does with: runt daemon logs; the lock below tells its pid")
	case closing:
		return problem("who listens on %s closes the connection without an answer", path).
			hint("a daemon that ends as soon as it is started says why in: runt daemon logs")
	case stranger:
		return problem("another program listens on %s: it does not speak runtimed's protocol", path).
			hint("stop it, or set RUNTIMED_SOCKET to another path for the daemon and for runt")
	}
	return fine("nothing is at %s: no daemon runs", path)
}

// removeSocket is called under the locks.
func removeSocket(path string) (string, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return "it is gone by now", nil
	}
	if !statedir.SocketIsDead(path) {
		return "", fmt.Errorf("%s is another by now", path)
	}
	return "removed " + path, os.Remove(path)
}

// otherDaemon is one at the socket that clients without RUNTIMED_SOCKET use.
func otherDaemon(ctx context.Context, e *Env) (socket string, pid int) {
	if os.Getenv("RUNTIMED_SOCKET") == "" || e.options.Listening || e.peer.kind == mute {
		return "", 0
	}
	path, err := rpc.SocketPath(runtime.GOOS, func(name string) string {
		if name == "RUNTIMED_SOCKET" {
			return ""
		}
		return os.Getenv(name)
	})
	if err != nil || path == e.at.Socket {
		return "", 0
	}
	holder, _ := statedir.ReadLock(statedir.Paths{Folder: statedir.FolderOf(path, e.at.Own)}.Lock())
	if !proc.Runs(holder) {
		return "", 0 // a service manager may listen there, and start one
	}
	if p := findPeer(ctx, path, false); p.info != nil {
		return path, p.info.PID
	}
	return "", 0
}
