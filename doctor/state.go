package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"runtimed/doctor"
	"runtimed/internal/proc"
	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
	"runtimed/rpc"
)

// lookFolder is for the folders that a daemon needs for itself.
func (x *exam) lookFolder(dir string) finding {
	const elsewhere = "cache_dir in the configuration and RUNTIMED_SOCKET name others"
	if dir == "" {
		return problem("there is no place for environments: neither HOME nor cache_dir tells one").
			next("set HOME, or cache_dir in the configuration")
	}
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(dir); err == nil {
			return problem("%s is a link to what is not there", dir).next("remove the link, or make what it leads to")
		}
		if err := statedir.CheckPlace(dir); err != nil {
			return problem("%s cannot be made: %v", dir, err).next("the folder must be yours; " + elsewhere)
		}
		up := doctor.Standing(dir)
		if stands, err := os.Stat(up); err != nil || !stands.IsDir() || !doctor.Writable(up) {
			return problem("%s cannot be made: %s cannot be written", dir, up).next("make it yours and writable; " + elsewhere)
		}
		return fine("%s is not there yet; the first start makes it", dir)
	}
	if err != nil {
		return problem("looking at %s: %v", dir, errors.Unwrap(err)).next("the folder must be yours and writable; " + elsewhere)
	}
	uid, numbered := statedir.OwnerUID(info)
	numbered = numbered && !statedir.IsLent(info)
	perm := info.Mode().Perm()
	switch others := numbered && perm&0o077 != 0; {
	case !info.IsDir():
		return problem("%s is no folder", dir).next("move it away; " + elsewhere)
	case others && (uid != os.Getuid() || info.Mode()&fs.ModeSticky != 0):
		return problem("%s is for others too (mode %04o)", dir, perm).next("name a folder of your own, with mode 0700, in its place")
	case numbered && uid != os.Getuid():
		return problem("%s belongs to uid %d, and this is uid %d", dir, uid, os.Getuid()).next("the folder must be yours; " + elsewhere)
	case others && dir == x.at.own:
		return warning("%s is open to others (mode %04o)", dir, perm).next("nothing to do: the next start closes it; or: runt doctor --fix").
			mendedBy(func() (string, error) { return "ran chmod 700 on " + dir, os.Chmod(dir, 0o700) })
	case others: // somebody chose it, and may have others in it
		return problem("%s is open to others (mode %04o)", dir, perm).next("run chmod 700 on it, or name another")
	case !doctor.Writable(dir):
		return problem("%s cannot be written", dir).
			next("is it on a file system that is read-only? The folder must be yours and writable; " + elsewhere)
	}
	if numbered {
		return fine("%s (mode %04o)", dir, perm)
	}
	return fine("%s", dir)
}

func (x *exam) lookSocketFolder() finding {
	switch {
	case x.badPath != nil:
		return fine("not known: the socket has no path")
	case runtime.GOOS == "windows":
		return fine("not needed: a pipe has none")
	case x.at.folder == x.at.state:
		return fine("the state directory")
	}
	return x.lookFolder(x.at.folder)
}

// lockFound is what the lock tells of daemons that do not answer.
type lockFound struct {
	finding
	held bool // by a daemon, be it dead or alive to us
}

// readLock is what a lock file says of who holds it: for messages only.
func readLock(path string) (pid int, socket string) {
	data, _ := safefile.ReadOwn(path, maxLock)
	number, socket, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	pid, _ = strconv.Atoi(number)
	return pid, socket
}

func isAlive(pid int) bool {
	_, err := proc.OwnerOf(pid)
	return err == nil
}

// findLock takes the lock only where no daemon answers, and for no longer than it takes to see that it can: a daemon that starts at
// that very moment tries for much longer.
func (x *exam) findLock() lockFound {
	path := x.at.lock()
	pid, socket := readLock(path)
	if info := x.met.info; info != nil {
		if pid != info.PID {
			return lockFound{warning("the daemon (pid %d) answers, and %s does not name it", info.PID, path).
				next("it takes its lock again within seconds; if this stays: runt daemon restart"), true}
		}
		return lockFound{fine("held by the daemon (pid %d)", pid), true}
	}
	if x.badPath != nil {
		return lockFound{fine("not known: the socket has no path"), false}
	}
	var err error
	for end := time.Now().Add(lockPatience); ; time.Sleep(20 * time.Millisecond) { // another doctor may look just now
		if err = tryLock(path); !errors.Is(err, errHeld) || time.Now().After(end) {
			break
		}
	}
	var other *safefile.Error
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return lockFound{fine("free: no daemon was ever started here"), false}
	case err == nil:
		return lockFound{fine("free: no daemon runs"), false}
	case errors.Is(err, syscall.ENOLCK), errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOSYS):
		return lockFound{problem("%s cannot be locked: this file system has no locks", path).
			next("set RUNTIMED_SOCKET and cache_dir to folders of mode 0700 on a local disk"), false}
	case errors.As(err, &other):
		return lockFound{problem("%v", err).next("move it away: the daemon's lock must be a file of its own"), false}
	case !errors.Is(err, errHeld):
		return lockFound{problem("%s cannot be opened: %v", path, errors.Unwrap(err)).next("it must be yours, with mode 0600"), false}
	}
	switch x.met.who {
	case meetNobody, meetDead, meetListening: // it may just be starting, and is there, so that to connect starts nobody
		if met := x.meet(x.at.socket, false); met.info != nil {
			return lockFound{fine("held by the daemon (pid %d), which has just started", met.info.PID), true}
		}
	}
	switch f := problem("%s is held, and by whom is not known", path).next("who has it open: fuser " + path); {
	case pid == 0:
		return lockFound{f, true}
	case !proc.HoldsLock(pid, path):
		f.Message = fmt.Sprintf("%s is held; the daemon that it names (pid %d) is gone, and something that it started may hold it, "+
			"or a daemon in another PID namespace", path, pid)
		return lockFound{f, true}
	case socket != "" && socket != x.at.socket:
		return lockFound{problem("a daemon (pid %d) holds %s, and listens on %s", pid, path, socket).
			next("set RUNTIMED_SOCKET to that, or end the daemon: kill " + strconv.Itoa(pid)), true}
	}
	return lockFound{problem("a daemon (pid %d) holds %s and does not answer", pid, path).
		next("it may hang, or be stopped; see: runt daemon logs; to end it: kill " + strconv.Itoa(pid)), true}
}

var errHeld = errors.New("held")

// tryLock takes a lock that is there and lets it go at once; nothing is made or written.
func tryLock(path string) error {
	f := safefile.NewFileLock(path)
	defer f.Close()
	ok, err := f.TryLock()
	if err == nil && !ok {
		err = errHeld
	}
	return err
}

// lookDaemonFile looks at daemon.json, which people and old clients read.
func (x *exam) lookDaemonFile() finding {
	path := x.at.statusFile()
	if x.badPath != nil {
		return fine("not known: the socket has no path")
	}
	var said struct{ PID int }
	info, err := os.Lstat(path)
	if err == nil && !info.Mode().IsRegular() {
		return warning("%s is no file, so it is left alone", path).
			next("move it away: the daemon goes on without it, and programs that read it do not find the daemon")
	}
	if err == nil {
		var data []byte
		if data, err = safefile.ReadOwn(path, maxStatus); err == nil {
			err = json.Unmarshal(data, &said)
		}
	}
	gone := errors.Is(err, fs.ErrNotExist)
	switch daemon := x.met.info; {
	case daemon != nil && (gone || err == nil && said.PID != daemon.PID):
		return warning("%s does not tell of the daemon (pid %d)", path, daemon.PID).
			next("it writes one that is gone again within seconds; else: runt daemon restart")
	case gone:
		return fine("none, as where no daemon runs")
	case err != nil && x.at.folder != x.at.own: // where the user has files too
		return warning("%s is no daemon's, or is damaged: %v", path, err).next("if it is not yours, remove it; the daemon goes on without")
	case err != nil && daemon == nil && !x.holds().held:
		return warning("%s is damaged: %v", path, err).next("nothing to do: the next start replaces it; or: runt doctor --fix").
			mendedAloneBy(func() (string, error) { return "removed " + path, os.Remove(path) })
	case err != nil:
		return warning("%s is damaged: %v", path, err).next("runt daemon restart writes it anew")
	case daemon == nil && !isAlive(said.PID):
		return fine("left by a daemon (pid %d) that was killed; the next start replaces it", said.PID)
	}
	return fine("%s", path)
}

// mend repairs what can be, most of it under the locks of a daemon: so none runs, and none starts meanwhile. It is short, since one
// that is started just then waits for a quarter of a second.
func (x *exam) mend(list []finding) {
	var free func()
	foreign := statedir.CheckHome(os.Getenv("HOME"))
	for i := range list {
		f := &list[i]
		if f.fix == nil {
			continue
		}
		err := foreign // a lock file that is made for a repair would be another's too
		if err == nil && f.alone && free == nil {
			if free, err = x.hold(); err == nil {
				defer free()
			}
		}
		done := ""
		if err == nil {
			done, err = f.fix()
		}
		if err != nil {
			f.Hint = fmt.Sprintf("it could not be repaired: %v", err)
			continue
		}
		f.Status, f.Fixed, f.Hint = rpc.CheckOK, done, ""
	}
}

// hold takes all locks that a daemon takes, and writes nothing into them.
func (x *exam) hold() (free func(), err error) {
	l := newLocks(x.at)
	l.patience = 50 * time.Millisecond
	return l.free, l.hold()
}
