package daemon

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"runtimed/config"
	"runtimed/internal/failure"
	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
	"runtimed/rpc"
)

// stopTime is what the daemon has for its own stop, and a little more.
const stopTime = 6 * time.Second

// Shutdown ends a daemon and waits until it is gone. It closes c.
func (d *Control) Shutdown(c *rpc.Client, info rpc.Info) (json.RawMessage, error) {
	pid := PidOf(c, info)
	raw, err := d.Call(c, rpc.MethodShutdown, rpc.None{}, 0)
	c.Close()
	if err != nil && rpc.KindOf(err) != rpc.KindShuttingDown {
		return nil, err
	}
	for deadline := time.Now().Add(stopTime); ; {
		now, err := d.Info(d.Ctx)
		// Its pid tells nothing: it may be of another PID namespace, or of a zombie.
		gone := rpc.KindOf(err) == rpc.KindUnreachable && !d.LockHeld() &&
			!Locked(filepath.Join(info.StateDir, statedir.LockName))
		if gone || err == nil && !now.StartedAt.Equal(info.StartedAt) { // another could not start before
			break
		}
		if time.Now().After(deadline) {
			return nil, failure.New("the daemon (pid %s) still runs %s after it was asked to stop", pid, stopTime).
				WithHint("see what it does with: runt daemon logs")
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-d.Ctx.Done():
			return nil, d.Ctx.Err()
		}
	}
	if raw == nil {
		raw = json.RawMessage("{}")
	}
	return raw, nil
}

// PidOf is the daemon's number for people, and whether it is one of another PID namespace.
func PidOf(c *rpc.Client, info rpc.Info) string {
	pid := strconv.Itoa(info.PID)
	peer, err := c.Peer()
	switch {
	case err != nil || peer.PID == info.PID:
	case peer.PID == 0:
		pid += " in another PID namespace"
	case info.StartedBy != rpc.StartedByService: // whose manager has opened the socket
		pid += fmt.Sprintf(" in its PID namespace, %d in this one", peer.PID)
	}
	return pid
}

// sameSettings returns the flags for a new daemon with the configuration and the environments of the old one, where
// this shell would choose others.
func (d *Control) sameSettings(info rpc.Info) ([]string, error) {
	var args []string
	flags := config.Flags{}
	path, err := config.FilePath(flags, d.Env)
	if (err != nil || path != info.ConfigPath) && safefile.Exists(info.ConfigPath) {
		flags.Config = info.ConfigPath
		args = append(args, "--config="+info.ConfigPath)
	}
	cfg, err := config.Load(flags, d.Env)
	if err != nil {
		return nil, err
	}
	state := cfg.CacheDir
	if state == "" {
		state, _ = rpc.StateDir(runtime.GOOS, d.Env)
	}
	now, err1 := os.Stat(state)
	was, err2 := os.Stat(info.StateDir)
	if err2 == nil && (err1 != nil || !os.SameFile(now, was)) {
		args = append(args, "--cache-dir="+info.StateDir)
	}
	return args, nil
}

// checkLockable fails if the disk with the environments has become read-only: no daemon could take the lock there.
func checkLockable(info rpc.Info) error {
	f, err := safefile.OpenOwn(filepath.Join(info.StateDir, statedir.LockName), os.O_WRONLY, 0)
	if err == nil {
		return f.Close()
	}
	if errors.Is(err, syscall.EROFS) {
		return failure.New("the disk of %s is read-only, so no daemon can start there", info.StateDir).
			WithHint("the one that runs was left alone; make the disk writable, and do it again")
	}
	return nil
}

// stopAny stops a daemon, whoever started it.
func (d *Control) stopAny() error {
	c, info, err := d.Meet(d.Ctx, nil)
	if err != nil {
		if rpc.KindOf(err) == rpc.KindUnreachable {
			return nil
		}
		return err
	}
	defer c.Close()
	_, err = d.Shutdown(c, info)
	return err
}

// Swap replaces a daemon with one that stays, or with one like the old. It checks what it can while the old one runs.
func (d *Control) Swap(c *rpc.Client, info rpc.Info, stay bool) error {
	args, err := d.sameSettings(info)
	if err != nil {
		return err
	}
	if err := cmp.Or(d.CheckHome(), checkLockable(info)); err != nil {
		return err
	}
	if _, err := Program(); err != nil {
		return err
	}
	if _, err := d.Shutdown(c, info); err != nil {
		return err
	}
	return d.Launch(info.StartedBy == rpc.StartedByCommand && !stay, args...)
}
