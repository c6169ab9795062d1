package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"runtimed/internal/proc"
	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
	"runtimed/pool/envdir"
	"runtimed/rpc"
)

const (
	repairPatience = 50 * time.Millisecond
	maxStatus      = 64 << 10 // bytes of daemon.json
)

// checkStateDirectory also says why it is not at the usual place.
func checkStateDirectory(ctx context.Context, e *Env) Findings {
	found := checkFolder(e, e.at.State)
	if found.worst().Status == rpc.CheckOK && statedir.IsCramped(e.at.State) {
		found = warning("packages may have files whose paths are longer than Windows as set takes: %s",
			e.at.State).
			hint("name a shorter folder by cache_dir in the configuration, or turn on long paths in Windows")
	}
	usual, err := rpc.UsualDir(runtime.GOOS, os.Getenv)
	if err != nil || e.at.Own == usual || e.at.Own == "" {
		return found
	}
	if e.at.State == e.at.Own {
		found[0].Message += fmt.Sprintf("; it is here, since %s is on a network file system (%s)", usual,
			statedir.NetworkOf(usual, ""))
	}
	before := statedir.Paths{Socket: filepath.Join(usual, filepath.Base(e.at.Socket)), Folder: usual, State: usual}
	if holder, _ := statedir.ReadLock(before.Lock()); before.Socket != e.at.Socket && proc.Runs(holder) {
		if p := findPeer(ctx, before.Socket, false); p.info != nil {
			return append(found, warning("a daemon of before (pid %d) listens on %s, where no client looks any more",
				p.info.PID, before.Socket).hint("RUNTIMED_SOCKET="+before.Socket+" runt daemon stop")...)
		}
	}
	if e.at.State != usual && safefile.Exists(before.Envs()) {
		found = append(found, note("%s is left from before, and nothing on this machine uses it any more", usual).
			hint("once no kernel and no other machine uses it: rm -r "+usual)...)
	}
	return found
}

// checkFolder is for the daemon's own folders.
func checkFolder(e *Env, dir string) Findings {
	const elsewhere = "cache_dir in the configuration and RUNTIMED_SOCKET name others"
	if dir == "" {
		home := "HOME"
		if runtime.GOOS == "windows" {
			home = "LOCALAPPDATA"
		}
		return problem("there is no place for environments: neither %s nor cache_dir tells one", home).
			hint("set " + home + ", or cache_dir in the configuration")
	}
	refused := e.at.CheckFolder(dir)
	info, err := os.Stat(dir)
	tooLong := statedir.CheckLength(dir)
	switch {
	case tooLong != nil:
		return problem("%v", tooLong).hint("name a shorter one by cache_dir in the configuration")
	case errors.Is(err, fs.ErrNotExist) && envdir.Exists(dir):
		return problem("%s is a link to what is not there", dir).hint("remove the link, or make what it leads to")
	case errors.Is(err, fs.ErrNotExist) && refused != nil:
		return problem("%s cannot be made: %v", dir, refused).hint("the folder must be yours; " + elsewhere)
	case errors.Is(err, fs.ErrNotExist):
		up := statedir.Standing(dir)
		if stands, err := os.Stat(up); err != nil || !stands.IsDir() || statedir.Writable(up) != nil {
			return problem("%s cannot be made: %s cannot be written", dir, up).
				hint("make it yours and writable; " + elsewhere)
		}
		return fine("%s is not there yet; the first start makes it", dir)
	case err != nil:
		return problem("looking at %s: %v", dir, errors.Unwrap(err)).
			hint("the folder must be yours and writable; " + elsewhere)
	case !info.IsDir():
		return problem("%s is not a folder", dir).hint("move it away; " + elsewhere)
	case refused != nil:
		return problem("%v", refused).hint("the folder must be yours; " + elsewhere)
	case e.at.Closes(dir, info):
		return warning("%s is open to others (mode %04o)", dir, info.Mode().Perm()).
			hint("nothing to do: the next start closes it; or: runt doctor --fix").
			fixedBy(func() (string, error) { return "ran chmod 700 on " + dir, os.Chmod(dir, 0o700) })
	case statedir.Writable(dir) != nil:
		return problem("%s cannot be written", dir).
			hint("is it on a file system that is read-only? The folder must be yours and writable; " + elsewhere)
	case statedir.SocketIsFile:
		return fine("%s (mode %04o)", dir, info.Mode().Perm())
	}
	return fine("%s", dir)
}

func checkSocketFolder(_ context.Context, e *Env) Findings {
	switch {
	case e.atErr != nil:
		return skipped("not tested: the socket has no path")
	case !statedir.SocketIsFile:
		return skipped("not needed: a pipe has none")
	case e.at.Folder == e.at.State:
		return skipped("not needed: it is the state directory")
	}
	return checkFolder(e, e.at.Folder)
}

type lock struct {
	findings Findings
	held     bool // by a live daemon or an unseen one
}

// findLock takes the lock only if no daemon answers, and frees it at once: a starting daemon tries for much longer.
func findLock(ctx context.Context, e *Env) lock {
	path := e.at.Lock()
	pid, socket := statedir.ReadLock(path)
	if info := e.peer.info; info != nil {
		if pid != info.PID {
			return lock{warning("the daemon (pid %d) answers, and %s does not name it", info.PID, path).
				hint("it takes its lock again within seconds; if this stays: runt daemon restart"), true}
		}
		return lock{fine("held by the daemon (pid %d)", pid), true}
	}
	if e.atErr != nil {
		return lock{skipped("not tested: the socket has no path"), false}
	}
	free, err := false, error(nil)
	// it may be another doctor's
	for end := time.Now().Add(statedir.LockPatience); ; time.Sleep(20 * time.Millisecond) {
		if free, err = isFree(path); free || err != nil || time.Now().After(end) {
			break
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return lock{fine("free: no daemon was ever started here"), false}
	case statedir.NoLocks(err):
		return lock{problem("%s cannot be locked: this file system has no locks", path).
			hint(localDisk), false}
	case errors.As(err, new(*safefile.Error)):
		return lock{problem("%v", err).hint("move it away: the daemon's lock must be a file of its own"), false}
	case err != nil:
		return lock{problem("%s cannot be opened: %v", path, errors.Unwrap(err)).
			hint("it must be yours, with mode 0600"), false}
	case free:
		return lock{fine("free: no daemon runs"), false}
	}
	switch e.peer.kind {
	case nobody, dead, activated: // it may be starting, so connecting starts no other
		if p := findPeer(ctx, e.at.Socket, false); p.info != nil {
			return lock{fine("held by the daemon (pid %d), which has just started", p.info.PID), true}
		}
	}
	return lock{explainHeld(e, path, pid, socket), true}
}

func explainHeld(e *Env, path string, pid int, socket string) Findings {
	fuser, kill := "who has it open: fuser ", "kill "
	if runtime.GOOS == "windows" {
		fuser, kill = "the Resource Monitor (resmon) shows who has it open: ", "taskkill /F /PID "
	}
	switch {
	case pid == 0:
		return problem("%s is held, and by whom is not known", path).hint(fuser + path)
	case !proc.HoldsLock(pid, path):
		return problem("%s is held; the daemon that it names (pid %d) is gone, "+
			"and something that it started may hold it, "+
			"or a daemon in another PID namespace", path, pid).hint(fuser + path)
	case socket != "" && socket != e.at.Socket:
		return problem("a daemon (pid %d) holds %s, and listens on %s", pid, path, socket).
			hint("set RUNTIMED_SOCKET to that, or end the daemon: " + kill + strconv.Itoa(pid))
	}
	return problem("a daemon (pid %d) holds %s and does not answer", pid, path).
		hint("it may hang, or be stopped; see: runt daemon logs; to end it: " + kill + strconv.Itoa(pid))
}

// isFree makes and writes nothing.
func isFree(path string) (bool, error) {
	f := safefile.NewFileLock(path)
	defer f.Close()
	return f.TryLock()
}

// checkDaemonFile checks daemon.json, which people and old clients read.
func checkDaemonFile(_ context.Context, e *Env) Findings {
	path := e.at.Status()
	if e.atErr != nil {
		return skipped("not tested: the socket has no path")
	}
	info, err := os.Lstat(path)
	if err == nil && !info.Mode().IsRegular() {
		return warning("%s is not a file, so it is left alone", path).
			hint("move it away: the daemon goes on without it, and programs that read it do not find the daemon")
	}
	var status struct{ PID int }
	if err == nil {
		var data []byte
		if data, err = safefile.ReadOwn(path, maxStatus); err == nil {
			err = json.Unmarshal(data, &status)
		}
	}
	gone := errors.Is(err, fs.ErrNotExist)
	switch daemon := e.peer.info; {
	case daemon != nil && (gone || err == nil && status.PID != daemon.PID):
		return warning("%s does not tell of the daemon (pid %d)", path, daemon.PID).
			hint("it writes one that is gone again within seconds; else: runt daemon restart")
	case gone:
		return fine("none, as where no daemon runs")
	case err != nil && e.at.Shared():
		return warning("%s is not a daemon's, or is damaged: %v", path, err).
			hint("if it is not yours, remove it; the daemon goes on without")
	case err != nil && daemon == nil && !e.lock().held:
		return warning("%s is damaged: %v", path, err).
			hint("nothing to do: the next start replaces it; or: runt doctor --fix").
			fixedLockedBy(func() (string, error) { return "removed " + path, os.Remove(path) })
	case err != nil:
		return warning("%s is damaged: %v", path, err).hint("runt daemon restart writes it anew")
	case daemon == nil && !proc.Runs(status.PID):
		return note("left by a daemon (pid %d) that was killed; the next start replaces it", status.PID)
	}
	return fine("%s", path)
}
