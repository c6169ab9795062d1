package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
)

const maxLock = 8 << 10 // bytes; a pid and a path

// lockPatience is how long a lock is tried for: a daemon that was just killed may have left a child between fork and
// exec, which still holds what its parent held. A service manager would start a daemon that ends at once again at once,
// for whoever has connected meanwhile, and soon give the socket up: so under one it takes its time, in which the other
// may be stopping.
const (
	lockPatience    = 250 * time.Millisecond
	managedPatience = 3 * time.Second
)

// heldError says who holds the lock.
type heldError struct {
	path   string
	pid    string // empty where the file does not tell
	socket string
}

func (e *heldError) Error() string {
	holder := ""
	if e.pid != "" {
		number := e.pid
		if pid, err := strconv.Atoi(number); err != nil || !isAlive(pid) {
			number += ", not seen from here" // as in another PID namespace
		}
		holder = fmt.Sprintf(" (pid %s, socket %s)", number, e.socket)
	}
	return fmt.Sprintf("another daemon runs%s: it holds %s", holder, e.path)
}

// locks are held for the life of the daemon: daemon.lock beside the socket and where the environments are, and the
// folder of the environments itself, since people delete lock files, and two daemons could then each hold one of the
// same name. The kernel frees them when the process ends, however it does.
type locks struct {
	at       paths
	patience time.Duration
	held     []*safefile.Lock // of files
	envs     *safefile.Lock
	told     bool // that one cannot be taken again
}

func newLocks(at paths) *locks { return &locks{at: at, patience: lockPatience} }

// take takes all locks or none. Only with the one beside the socket may anything else be touched; then begin is called.
func (l *locks) take(log *zap.Logger, begin func()) error {
	err := l.at.check()
	if err == nil {
		err = os.MkdirAll(l.at.folder, 0o700)
	}
	if err == nil {
		err = l.takeOne(l.at.lock())
	}
	if err == nil {
		begin()
		err = l.at.prepare(log)
	}
	l.patience = lockPatience // only the first one is fought for
	hint := l.at.lock()
	if err == nil && l.at.state != l.at.folder {
		hint = filepath.Join(l.at.state, statedir.LockName)
		err = l.takeOne(hint)
	}
	envs := filepath.Join(l.at.state, "envs")
	if err == nil {
		err = safefile.MakeFolder(envs)
	}
	if err == nil && foldersLock {
		l.envs = safefile.NewFolderLock(envs)
		err = l.try(l.envs, hint)
	}
	if err != nil {
		l.free()
	}
	return err
}

// hold takes all locks in the folders that are there, or none. It writes nothing into their files, and makes no folder.
func (l *locks) hold() (err error) {
	defer func() {
		if err != nil {
			l.free()
		}
	}()
	files := []string{}
	if isThere(l.at.folder) {
		files = append(files, l.at.lock())
	}
	if l.at.state != l.at.folder && isThere(l.at.state) {
		files = append(files, filepath.Join(l.at.state, statedir.LockName))
	}
	for _, path := range files {
		f := safefile.NewLock(path)
		if err := l.try(f, path); err != nil {
			return err
		}
		l.held = append(l.held, f)
	}
	if envs := filepath.Join(l.at.state, "envs"); foldersLock && isThere(envs) {
		l.envs = safefile.NewFolderLock(envs)
		return l.try(l.envs, l.at.lock())
	}
	return nil
}

// name writes into the lock files who holds them: for people and messages only, since what counts is the lock itself,
// also on a full disk. A file of the user's that has the name is locked, and not changed.
func (l *locks) name() {
	for _, f := range l.held {
		if statedir.IsLockFile(f.Path()) || filepath.Dir(f.Path()) == l.at.own {
			_ = safefile.WriteOwn(f.Path(), fmt.Appendf(nil, "%d %s\n", os.Getpid(), l.at.socket), 0o600)
		}
	}
}

// restore takes a lock again whose file was deleted: what is still held has no name any more, so it would keep nobody
// out. Where a second daemon holds it at this moment, that one is about to end, since our socket answers.
func (l *locks) restore(log *zap.Logger) {
	for _, f := range l.held {
		if now, err := os.Lstat(f.Path()); err == nil && !l.names(now) || errors.Is(err, fs.ErrNotExist) {
			err := l.takeOne(f.Path())
			if err == nil || !l.told {
				log.Warn("the lock file was deleted by somebody; it is taken again", zap.String("path", f.Path()),
					zap.Error(err))
			}
			l.told = err != nil
		}
	}
}

// names says whether one of the locks that are held is that file.
func (l *locks) names(file fs.FileInfo) bool {
	for _, f := range l.held {
		if info, err := f.Stat(); err == nil && os.SameFile(info, file) {
			return true
		}
	}
	return false
}

func (l *locks) takeOne(path string) error {
	f := safefile.NewLock(path)
	if err := l.try(f, path); err != nil {
		return err
	}
	l.held = append(l.held, f)
	l.name()
	return nil
}

// try locks f or says why not; the file hint tells who holds it.
func (l *locks) try(f *safefile.Lock, hint string) error {
	ok, err := f.TryLock()
	for end := time.Now().Add(l.patience); !ok && err == nil && time.Now().Before(end); ok, err = f.TryLock() {
		time.Sleep(5 * time.Millisecond)
	}
	switch {
	case ok:
		return nil
	case errors.Is(err, syscall.ENOLCK), errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOSYS):
		err = fmt.Errorf("locking %s: this file system has no locks (%w), and without one two daemons could share the environments: set RUNTIMED_SOCKET and cache_dir to a local one", f.Path(), err)
	case errors.As(err, new(*safefile.Error)): // it names the path
	case err != nil:
		err = fmt.Errorf("locking %s: %w", f.Path(), err)
	default:
		pid, socket := holder(hint, l.at.socket)
		err = &heldError{f.Path(), pid, socket}
	}
	_ = f.Close()
	return err
}

// holder is what the lock file tells of who holds it. Its socket is ours where the file has none.
func holder(path, ours string) (pid, socket string) {
	data, err := safefile.ReadOwn(path, maxLock)
	pid, socket, _ = strings.Cut(strings.TrimSpace(string(data)), " ")
	if err != nil || pid == "" || socket == "" {
		socket = ours
	}
	return pid, socket
}

func (l *locks) free() {
	for _, f := range append(l.held, l.envs) {
		if f != nil {
			_ = f.Close() // frees it
		}
	}
	l.held, l.envs = nil, nil
}
