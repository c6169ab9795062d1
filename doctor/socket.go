package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"runtimed/config"
	"runtimed/internal/proc"
	"runtimed/internal/statedir"
	"runtimed/rpc"
)

// meeting is who is at the socket.
type meeting struct {
	who  string     // one of the constants below
	err  *rpc.Error // why it is not trusted
	info *rpc.Info  // of the daemon
	far  bool       // it is in another PID namespace, so that its pid means nothing here
}

const (
	meetNobody    = "nobody"
	meetDaemon    = "daemon"
	meetListening = "listening" // a service manager, which would start one
	meetNoSocket  = "no socket" // something else is at its path
	meetDead      = "dead"      // left by a daemon that was killed
	meetForbidden = "forbidden"
	meetMute      = "mute"
	meetCloses    = "closes"
	meetStranger  = "stranger"
	meetUntrusted = "untrusted" // that of another user, whom nothing is told
)

// gather finds out who runs, and with which configuration and environment: that of the daemon that answers counts.
func (x *exam) gather() {
	x.cfg, x.faults = config.Load(config.Flags{}, os.Getenv)
	if x.faults != nil {
		x.cfg = defaultConfig()
	}
	x.at, x.badPath = places(x.cfg)
	if x.at.state == "" { // the socket's path is what is wrong
		x.at.own, _ = rpc.StateDir(runtime.GOOS, os.Getenv)
		x.at.state = x.at.own
		if x.cfg.CacheDir != "" {
			x.at.state = x.cfg.CacheDir
		}
	}
	x.environ = os.Environ()
	x.met.who = meetNobody
	if x.badPath == nil {
		x.met = x.meet(x.at.socket, x.listening)
	}
	if info := x.met.info; info != nil {
		x.at.state = info.StateDir
		if environ := proc.EnvironOf(info.PID); environ != nil && !x.met.far {
			x.environ = environ
		}
		env := func(name string) string { return valueOf(x.environ, name) }
		flags := config.Flags{}
		if path, err := config.FilePath(flags, env); (err != nil || path != info.ConfigPath) && isThere(info.ConfigPath) {
			flags.Config = info.ConfigPath
		}
		if cfg, err := config.Load(flags, env); err == nil {
			x.cfg = cfg
		}
	}
	x.takeProxies()
}

// defaultConfig is for who has a faulty one.
func defaultConfig() *config.Config {
	none := filepath.Join(os.TempDir(), "runtimed-doctor-none")
	cfg, err := config.Load(config.Flags{}, func(name string) string {
		if name == "XDG_CONFIG_HOME" {
			return none
		}
		return ""
	})
	if err != nil {
		return &config.Config{} // somebody has made that file
	}
	return cfg
}

func valueOf(environ []string, name string) string {
	for _, v := range slices.Backward(environ) {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// meet finds out who is at a socket. With listening it does not connect, which would start whoever is listened for.
func (x *exam) meet(path string, listening bool) meeting {
	if runtime.GOOS != "windows" {
		info, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrPermission):
			return meeting{who: meetForbidden}
		case err != nil:
			return meeting{who: meetNobody}
		case info.Mode().Type() != fs.ModeSocket:
			return meeting{who: meetNoSocket}
		}
	}
	if listening {
		return meeting{who: meetListening}
	}
	ctx, cancel := context.WithTimeout(x.ctx, greetTime)
	defer cancel()
	for tries := 1; ; tries++ {
		info, far, err := greet(ctx, path)
		switch kind := rpc.KindOf(err); {
		case err == nil && info.Name == rpc.Name:
			return meeting{who: meetDaemon, info: &info, far: far}
		case kind == rpc.KindTimeout:
			return meeting{who: meetMute}
		case kind == rpc.KindUnreachable:
			return meeting{who: whyUnreachable(path)}
		case kind == rpc.KindUntrusted:
			m := meeting{who: meetUntrusted}
			errors.As(err, &m.err)
			return m
		case kind != rpc.KindClosed:
			return meeting{who: meetStranger}
		case tries == 4:
			return meeting{who: meetCloses}
		}
		time.Sleep(50 * time.Millisecond) // a daemon that is just ending closes too, and then is gone
	}
}

func greet(ctx context.Context, path string) (info rpc.Info, far bool, err error) {
	c, err := rpc.Dial(ctx, path, rpc.ClientOptions{})
	if err != nil {
		return info, false, err
	}
	defer c.Close()
	peer, unknown := c.Peer()
	err = c.Call(ctx, rpc.MethodInfo, rpc.InfoParams{Client: &rpc.ClientInfo{Name: "doctor", Version: rpc.Version()}}, &info)
	far = unknown == nil && peer.PID != info.PID && (peer.PID == 0 || info.StartedBy != rpc.StartedByService)
	return info, far, err
}

// whyUnreachable tells a socket without a listener from one that is not ours to use.
func whyUnreachable(path string) string {
	nc, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		_ = nc.Close()
		return meetCloses // it has just begun to listen
	case errors.Is(err, syscall.ECONNREFUSED):
		return meetDead
	case errors.Is(err, fs.ErrPermission):
		return meetForbidden
	}
	return meetNobody
}

func (x *exam) lookSocket() finding {
	path := x.at.socket
	if x.badPath != nil {
		return problem("%v", x.badPath).next("set RUNTIMED_SOCKET to a short path in a folder of your own, for the daemon and for runt")
	}
	switch x.met.who {
	case meetDaemon:
		return fine("runtimed %s (pid %d) answers on %s", x.met.info.Version, x.met.info.PID, path)
	case meetListening:
		return fine("a service manager listens on %s, and starts the daemon when somebody asks", path)
	case meetNoSocket:
		return problem("%s is in the way: it is no socket, so it is left alone", path).next("move it away, or set RUNTIMED_SOCKET")
	case meetDead:
		return warning("nobody listens on %s: a daemon that was killed has left it", path).
			next("nothing to do: the next start replaces it; or: runt doctor --fix").
			mendedAloneBy(func() (string, error) { return x.removeSocket(path) })
	case meetForbidden:
		return problem("no permission to use the socket %s", path).next("run as the user whose daemon it is, or set RUNTIMED_SOCKET")
	case meetUntrusted:
		return problem("%s", x.met.err.Message).next(x.met.err.Data.Hint)
	case meetMute:
		return problem("who listens on %s does not answer within %s: it hangs, or was stopped", path, greetTime).
			next("see what it does with: runt daemon logs; the lock below tells its pid")
	case meetCloses:
		return problem("who listens on %s closes the connection without an answer", path).
			next("a daemon that ends as soon as it is started says why in: runt daemon logs")
	case meetStranger:
		return problem("another program listens on %s: it does not speak runtimed's protocol", path).
			next("stop it, or set RUNTIMED_SOCKET to another path for the daemon and for runt")
	}
	return fine("nothing is at %s: no daemon runs", path)
}

// removeSocket takes a dead socket away; the locks are held.
func (x *exam) removeSocket(path string) (string, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "it is gone by now", nil
	}
	if err != nil {
		return "", err
	}
	if info.Mode().Type() != fs.ModeSocket || whyUnreachable(path) != meetDead {
		return "", fmt.Errorf("%s is another by now", path)
	}
	return "removed " + path, os.Remove(path)
}

// lookEnvironment finds what makes this shell see another daemon than the one there is.
func (x *exam) lookEnvironment() finding {
	var bad, odd []string
	hint := ""
	home := os.Getenv("HOME")
	switch info, err := os.Stat(home); {
	case runtime.GOOS == "windows":
	case home == "" && os.Getenv("RUNTIMED_SOCKET") != "" && x.cfg.CacheDir != "":
	case !filepath.IsAbs(home):
		bad, hint = append(bad, fmt.Sprintf("HOME is %q, which is no absolute path", home)), "set HOME"
	case err != nil:
		bad = append(bad, fmt.Sprintf("HOME is %s, which cannot be used: %v", home, errors.Unwrap(err)))
		hint = "set HOME to a folder that is there"
	default:
		var owner *statedir.OwnerError
		if errors.As(statedir.CheckHome(home), &owner) {
			bad, hint = append(bad, owner.Error()), owner.Hint() // no daemon starts so
		} else if uid, known := statedir.OwnerUID(info); known && uid != os.Geteuid() && !statedir.IsLent(info) {
			owner = &statedir.OwnerError{What: fmt.Sprintf("HOME is %s, which", home), UID: uid, Own: os.Geteuid()}
			odd, hint = append(odd, owner.Error()), owner.Hint()
		}
	}
	if info := x.met.info; info != nil {
		file, _ := config.FilePath(config.Flags{}, os.Getenv)
		if file != info.ConfigPath {
			odd = append(odd, fmt.Sprintf("the daemon reads %s, and this shell %s", info.ConfigPath, file))
		}
		if here, err := config.Load(config.Flags{}, os.Getenv); err == nil {
			if at, err := places(here); err == nil && at.state != info.StateDir && isThere(at.state) && !samePlace(at.state, info.StateDir) {
				odd = append(odd, fmt.Sprintf("the daemon keeps its environments in %s, and this shell says %s", info.StateDir, at.state))
			}
		}
		if len(odd) > 0 && hint == "" {
			hint = "runt daemon restart keeps the daemon's; to have this shell's: runt daemon stop, then runt daemon start"
		}
	} else if other, pid := x.elsewhere(); other != "" {
		odd = append(odd, fmt.Sprintf("RUNTIMED_SOCKET is %s, where no daemon answers, and one (pid %d) answers on %s", x.at.socket, pid, other))
		hint = "unset RUNTIMED_SOCKET, or set it for the daemon too"
	}
	switch {
	case len(bad) > 0:
		return problem("%s", strings.Join(append(bad, odd...), "\n")).next(hint)
	case len(odd) > 0:
		return warning("%s", strings.Join(odd, "\n")).next(hint)
	}
	set := []string{"HOME is " + home}
	if home == "" {
		set[0] = "HOME is not set, and not needed"
	}
	for _, name := range []string{"RUNTIMED_SOCKET", "RUNTIMED_CONFIG", "RUNTIMED_CACHE_DIR"} { // the others show in the configuration
		if value := os.Getenv(name); value != "" {
			set = append(set, name+"="+value)
		}
	}
	return fine("%s", strings.Join(set, "; "))
}

// elsewhere is a daemon at the place where clients look that have no RUNTIMED_SOCKET.
func (x *exam) elsewhere() (socket string, pid int) {
	if os.Getenv("RUNTIMED_SOCKET") == "" || x.listening || x.met.who == meetMute {
		return "", 0
	}
	path, err := rpc.SocketPath(runtime.GOOS, func(name string) string {
		if name == "RUNTIMED_SOCKET" {
			return ""
		}
		return os.Getenv(name)
	})
	if err != nil || path == x.at.socket {
		return "", 0
	}
	if pid, _ := readLock(filepath.Join(filepath.Dir(path), statedir.LockName)); pid == 0 || !isAlive(pid) {
		return "", 0 // whoever listens is a service manager, which would start one
	}
	if met := x.meet(path, false); met.info != nil {
		return path, met.info.PID
	}
	return "", 0
}
