package statedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"runtimed/internal/safefile"
)

const maxLock = 8 << 10 // bytes; a pid and a path

// LockPatience is how long a lock is tried for: a daemon that was just killed may have left a child between fork and
// exec, which still holds what its parent held.
const LockPatience = 250 * time.Millisecond

// HeldError says who holds a lock.
type HeldError struct {
	Path   string
	PID    int // 0 where the lock file does not tell
	Socket string

	ours string // the socket of who wanted the lock
}

// Elsewhere says whether the holder listens where who wanted the lock does not ask.
func (e *HeldError) Elsewhere() bool { return e.Socket != e.ours }

func (e *HeldError) Error() string {
	holder := ""
	if e.PID > 0 {
		hidden := ""
		if p, err := os.FindProcess(e.PID); err != nil || errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone) {
			hidden = ", not seen from here" // as in another PID namespace
		}
		holder = fmt.Sprintf(" (pid %d%s, socket %s)", e.PID, hidden, e.Socket)
	}
	return fmt.Sprintf("another daemon runs%s: it holds %s", holder, e.Path)
}

// Locks are held for the life of a daemon: on daemon.lock beside the socket and where the environments are, and on the
// folder of the environments itself, since people delete lock files. The kernel frees them when the process ends.
type Locks struct {
	at       Paths
	patience time.Duration
	files    []*safefile.Lock
	envs     *safefile.Lock
	failed   bool // one cannot be taken again, and that was reported
}

// TakeLocks takes all locks, or none. Only with the one beside the socket may anything else be touched: prepare is
// called then.
func TakeLocks(at Paths, patience time.Duration, prepare func() error) (_ *Locks, err error) {
	l := &Locks{at: at, patience: patience}
	defer func() { l.unless(err) }()
	if err := at.Check(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(at.Folder, 0o700); err != nil {
		return nil, err
	}
	if err := l.take(at.Lock()); err != nil {
		return nil, err
	}
	if err := prepare(); err != nil {
		return nil, err
	}
	l.patience = LockPatience // only the first one is fought for
	hint := at.Lock()
	if at.State != at.Folder {
		hint = filepath.Join(at.State, LockName)
		if err := l.take(hint); err != nil {
			return nil, err
		}
	}
	if err := safefile.MakeFolder(at.Envs()); err != nil {
		return nil, err
	}
	return l, l.takeEnvs(hint)
}

// HoldLocks takes all locks in the folders that are there, or none. It makes and writes nothing.
func HoldLocks(at Paths, patience time.Duration) (_ *Locks, err error) {
	l := &Locks{at: at, patience: patience}
	defer func() { l.unless(err) }()
	for _, dir := range slices.Backward(at.Folders()) { // as a daemon does: the one beside the socket first
		path := filepath.Join(dir, LockName)
		f := safefile.NewLock(path)
		if err := l.try(f, path); err != nil {
			return nil, err
		}
		l.files = append(l.files, f)
	}
	return l, l.takeEnvs(at.Lock())
}

func (l *Locks) unless(err error) {
	if err != nil {
		l.Free()
	}
}

// Name writes into the lock files who holds them: for people and messages only, since what counts is the lock itself,
// also on a full disk. A file of the user's that has the name is locked, and not changed.
func (l *Locks) Name() {
	for _, f := range l.files {
		if IsLockFile(f.Path()) || filepath.Dir(f.Path()) == l.at.Own {
			_ = safefile.WriteOwn(f.Path(), fmt.Appendf(nil, "%d %s\n", os.Getpid(), l.at.Socket), 0o600)
		}
	}
}

// Restore takes a lock again whose file was deleted: the one that is held has no name any more, so it would keep nobody
// out. Where a second daemon holds it at this moment, that one is about to end, since our socket answers. report is
// called for each lock that was taken, and once for those that could not be.
func (l *Locks) Restore(report func(path string, err error)) {
	for _, f := range l.files {
		if now, err := os.Lstat(f.Path()); err == nil && !l.holds(now) || errors.Is(err, fs.ErrNotExist) {
			err := l.take(f.Path())
			if err == nil || !l.failed {
				report(f.Path(), err)
			}
			l.failed = err != nil
		}
	}
}

// holds says whether one of the locks is on that file.
func (l *Locks) holds(file fs.FileInfo) bool {
	for _, f := range l.files {
		if info, err := f.Stat(); err == nil && os.SameFile(info, file) {
			return true
		}
	}
	return false
}

func (l *Locks) take(path string) error {
	f := safefile.NewLock(path)
	if err := l.try(f, path); err != nil {
		return err
	}
	l.files = append(l.files, f)
	l.Name()
	return nil
}

func (l *Locks) takeEnvs(hint string) error {
	if !foldersLock || !safefile.Exists(l.at.Envs()) {
		return nil
	}
	l.envs = safefile.NewFolderLock(l.at.Envs())
	return l.try(l.envs, hint)
}

// try locks f, or says why not; the file hint tells who holds it.
func (l *Locks) try(f *safefile.Lock, hint string) error {
	ok, err := f.TryLock()
	for end := time.Now().Add(l.patience); !ok && err == nil && time.Now().Before(end); ok, err = f.TryLock() {
		time.Sleep(5 * time.Millisecond)
	}
	switch {
	case ok:
		return nil
	case NoLocks(err):
		err = fmt.Errorf("locking %s: this file system has no locks (%w), and without one two daemons could share the "+
			"environments: set RUNTIMED_SOCKET and cache_dir to a local one", f.Path(), err)
	case errors.As(err, new(*safefile.Error)): // it names the path
	case err != nil:
		err = fmt.Errorf("locking %s: %w", f.Path(), err)
	default:
		held := &HeldError{Path: f.Path(), ours: l.at.Socket}
		if held.PID, held.Socket = ReadLock(hint); held.Socket == "" {
			held.Socket = l.at.Socket
		}
		err = held
	}
	_ = f.Close()
	return err
}

// NoLocks says whether err means that a file system has no locks.
func NoLocks(err error) bool {
	return errors.Is(err, syscall.ENOLCK) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.ENOSYS)
}

// ReadLock is what a lock file says of who holds it, for messages only. A pid of 0 and an empty socket are not known.
func ReadLock(path string) (pid int, socket string) {
	data, _ := safefile.ReadOwn(path, maxLock)
	number, socket, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	pid, _ = strconv.Atoi(number)
	return pid, socket
}

// Free frees the locks.
func (l *Locks) Free() {
	for _, f := range append(l.files, l.envs) {
		if f != nil {
			_ = f.Close()
		}
	}
	l.files, l.envs = nil, nil
}
