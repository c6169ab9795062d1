package daemon

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
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
	flags := config.FlagsFor(info.ConfigPath, d.Env)
	if flags.Config != "" {
		args = append(args, "--config="+flags.Config)
	}
	cfg, err := config.LoadToStart(flags, d.Env)
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

func (d *Control) stopAny() error {
	c, info, err := d.Dial(d.Ctx, nil)
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

// Replace stops a daemon and starts another: one that stays, or one like the old. It checks what it can before that.
func (d *Control) Replace(c *rpc.Client, info rpc.Info, stay bool) error {
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

// RunPurge has the daemon's program purge, by the daemon's own rules and under its locks.
func (d *Control) RunPurge(flags ...string) (purged rpc.Purged, err error) {
	program, err := Program()
	if err != nil {
		return purged, err
	}
	var errs bytes.Buffer
	cmd := exec.Command(program, append([]string{"purge"}, flags...)...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if json.Unmarshal(out, &purged) != nil {
		f := failure.New("%s cannot purge: %v", program, err).WithHint("install it again, in the version of runt")
		f.Quote(rpc.Name, errs.String())
		return purged, f
	}
	switch {
	case purged.InUse:
		return purged, failure.New("%s", purged.Error).WithHint(inUseHint)
	case purged.Error != "":
		return purged, failure.New("%s", purged.Error).WithHint("nothing is removed")
	}
	return purged, nil
}

// CheckUnused fails if an environment is in use, as a running daemon knows, or the disk shows.
func (d *Control) CheckUnused() error {
	err := d.checkNotLeased()
	if rpc.KindOf(err) != rpc.KindUnreachable {
		return err
	}
	if purged, err := d.RunPurge("--check"); !purged.Held {
		return err
	}
	return d.checkNotLeased() // a daemon has just started
}

// Purge removes what a daemon keeps. A daemon that starts meanwhile is asked and stopped too.
func (d *Control) Purge() (whole bool, err error) {
	for try := 1; ; try++ {
		if err := d.stopAny(); err != nil {
			return false, err
		}
		purged, err := d.RunPurge()
		if purged.Held && try < 5 {
			if err := d.checkNotLeased(); err != nil && rpc.KindOf(err) != rpc.KindUnreachable {
				return false, err
			}
			continue
		}
		for _, s := range purged.Stays {
			d.Note("%s stays: %s", s.Path, s.Why)
		}
		return len(purged.Stays) == 0, err
	}
}

func (d *Control) checkNotLeased() error {
	var list rpc.EnvListResult
	raw, err := d.askOnce(rpc.MethodEnvList, rpc.EnvListParams{State: new(rpc.EnvLeased)}, 0)
	if err == nil {
		err = Decode(raw, &list)
	}
	if rpc.KindOf(err) == rpc.KindUnreachable {
		return err
	}
	if err != nil {
		f := failure.Of(err)
		f.Message = "nothing tells whether an environment is in use, so nothing is removed: " + f.Message
		return f
	}
	if len(list.Envs) == 0 {
		return nil
	}
	e := list.Envs[0]
	return failure.New("%d of the environments are in use (%s: %s), so nothing is removed",
		len(list.Envs), e.ID, LeaseText(e.Lease)).WithHint(inUseHint)
}

// LeaseText says who holds an environment.
func LeaseText(l *rpc.Lease) string {
	if l == nil {
		return "-"
	}
	text := fmt.Sprintf("pid %d", l.OwnerPID)
	if l.OwnerPID == 0 {
		text = "somebody unknown,"
	}
	switch {
	case l.Where != "":
		text += " " + l.Where
	case l.Alive:
	case l.KeptUntil != nil:
		text = "kept for a restart until " + l.KeptUntil.Local().Format(time.TimeOnly)
	default:
		text += ", gone"
	}
	if l.Label != "" {
		text += " (" + l.Label + ")"
	}
	return text
}

const inUseHint = "end who uses them, or wait until none is kept for a restart; runt env list shows all, and " +
	"runt pool release ID ends a lease; without --purge the service alone is taken away"
