package statedir

import (
	"cmp"
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

const maxLock = 8 << 10 // bytes

// ageingPatience is how long the lock on LocalDir is tried for.
const ageingPatience = 5 * time.Second

// LockPatience is how long a lock is tried for. A child of a killed daemon may hold it between fork and exec.
const LockPatience = 250 * time.Millisecond

// HeldError says who holds a lock.
type HeldError struct {
	Path   string
	PID    int // 0: unknown
	Socket string

	ours string // the socket of the daemon that wanted the lock
}

// Elsewhere reports whether the holder listens on another socket.
func (e *HeldError) Elsewhere() bool { return e.Socket != e.ours }

func (e *HeldError) Error() string {
	holder := ""
	if e.PID > 0 {
		hidden := ""
		if p, err := os.FindProcess(e.PID); err != nil || errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone) {
			hidden = ", not seen from here" // in another PID namespace, say
		}
		holder = fmt.Sprintf(" (pid %d%s, socket %s)", e.PID, hidden, e.Socket)
	}
	return fmt.Sprintf("another daemon runs%s: it holds %s", holder, e.Path)
}

// Locks are a daemon's: daemon.lock beside the socket and in the state directory, and the folder of the environments,
// since people delete lock files. The kernel frees them when the process ends.
type Locks struct {
	at       Paths
	patience time.Duration
	files    []*safefile.Lock
	envs     *safefile.Lock
	local    *safefile.Lock // keeps the ageing of /var/tmp away; nil if nothing is there
	claims   []*claim       // to folders that other machines may see
	failed   bool           // and reported
}

// TakeLocks takes all locks or none. It calls prepare under the lock beside the socket: before that, nothing may be
// touched.
func TakeLocks(at Paths, patience time.Duration, prepare func() error) (_ *Locks, err error) {
	l := &Locks{at: at, patience: patience}
	defer func() { l.unless(err) }()
	if err := cmp.Or(at.Check(), CheckLength(at.State)); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(at.Folder, 0o700); err != nil {
		return nil, err
	}
	if err := CheckLocal(at.Folder); err != nil { // somebody else was quicker
		return nil, err
	}
	if err := l.take(at.Lock()); err != nil {
		return nil, orHost(err, RealPath(at.Folder))
	}
	if err := prepare(); err != nil {
		return nil, err
	}
	l.patience = LockPatience // only the first is contended
	hint := at.Lock()
	if at.State != at.Folder {
		hint = filepath.Join(at.State, LockName)
		if err := l.take(hint); err != nil {
			return nil, orHost(err, RealPath(at.State))
		}
	}
	if err := safefile.MakeFolder(at.Envs()); err != nil {
		return nil, err
	}
	for end := time.Now().Add(ageingPatience); !l.keepLocal() && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	if err := l.takeEnvs(hint); err != nil {
		return nil, orHost(err, RealPath(at.State))
	}
	for _, dir := range at.Folders() {
		c, err := claimFolder(RealPath(dir))
		if err != nil {
			return nil, err
		}
		if c != nil {
			l.claims = append(l.claims, c)
		}
	}
	return l, nil
}

// keepLocal takes the lock on LocalDir for which systemd-tmpfiles leaves the folder alone, however old its files are
// (tmpfiles.d(5)). False means that it is in there just now.
func (l *Locks) keepLocal() bool {
	dir := LocalDir()
	if l.at.Folder != dir && l.at.State != dir {
		return true
	}
	if l.local != nil {
		now, err := os.Lstat(dir)
		if held, herr := l.local.Stat(); err == nil && herr == nil && os.SameFile(now, held) {
			return true
		}
		_ = l.local.Close()
	}
	l.local = safefile.NewFolderLock(dir)
	ok, _ := l.local.Share() // an error is tried again like a lock that is held
	return ok
}

// HoldLocks takes the locks in existing folders, or none. It makes and writes nothing.
func HoldLocks(at Paths, patience time.Duration) (_ *Locks, err error) {
	l := &Locks{at: at, patience: patience}
	defer func() { l.unless(err) }()
	for _, dir := range slices.Backward(at.Folders()) { // in a daemon's order
		if err := l.hold(filepath.Join(dir, LockName)); err != nil {
			return nil, orHost(err, RealPath(at.State))
		}
	}
	if err := l.takeEnvs(at.Lock()); err != nil {
		return nil, err
	}
	for _, dir := range at.Folders() {
		if err := unclaimed(RealPath(dir)); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *Locks) unless(err error) {
	if err != nil {
		l.Free()
	}
}

// Name writes the holder into the lock files, for people and messages. It may fail on a full disk, and leaves a
// user's file of that name unchanged.
func (l *Locks) Name() {
	for _, f := range l.files {
		if isLockFile(f.Path()) || filepath.Dir(f.Path()) == l.at.Own {
			_ = safefile.WriteOwn(f.Path(), fmt.Appendf(nil, "%d %s\n", os.Getpid(), l.at.Socket), 0o600)
		}
	}
}

// Restore takes the lock again of a deleted file, since the old one keeps nobody out. A second daemon that holds the
// new file now will end, since our socket answers. report is called for each lock taken, and once for failures. A
// *HostError means that a daemon on another machine has taken over.
func (l *Locks) Restore(report func(path string, err error)) error {
	for _, f := range l.files {
		if now, err := os.Lstat(f.Path()); err == nil && !l.holds(now) || errors.Is(err, fs.ErrNotExist) {
			err := l.take(f.Path())
			if err == nil || !l.failed {
				report(f.Path(), err)
			}
			l.failed = err != nil
		}
	}
	l.keepLocal()
	for _, c := range l.claims {
		if err := c.renew(); errors.As(err, new(*HostError)) {
			return err
		}
	}
	return nil
}

func (l *Locks) holds(file fs.FileInfo) bool {
	for _, f := range l.files {
		if info, err := f.Stat(); err == nil && os.SameFile(info, file) {
			return true
		}
	}
	return false
}

func (l *Locks) hold(path string) error {
	if now, err := os.Lstat(path); err == nil && l.holds(now) {
		return nil // the state directory is the socket's folder by another name
	}
	f := safefile.NewLock(path)
	err := l.try(f, path)
	if err == nil {
		l.files = append(l.files, f)
	}
	return err
}

func (l *Locks) take(path string) error {
	err := l.hold(path)
	if err == nil {
		l.Name()
	}
	return err
}

func (l *Locks) takeEnvs(hint string) error {
	if !foldersLock || !safefile.Exists(l.at.Envs()) {
		return nil
	}
	l.envs = safefile.NewFolderLock(l.at.Envs())
	return l.try(l.envs, hint)
}

// try locks f. The file hint names a holder.
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
	case errors.As(err, new(*safefile.Error)): // has the path
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

// NoLocks reports whether err means that the file system has no locks.
func NoLocks(err error) bool {
	return errors.Is(err, syscall.ENOLCK) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.ENOSYS)
}

// ReadLock reads the holder from a lock file, for messages only; zero values are unknown.
func ReadLock(path string) (pid int, socket string) {
	data, _ := safefile.ReadOwn(path, maxLock)
	number, socket, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	pid, _ = strconv.Atoi(number)
	return pid, socket
}

// Free frees the locks.
func (l *Locks) Free() {
	for _, c := range l.claims {
		c.free()
	}
	for _, f := range append(l.files, l.envs, l.local) {
		if f != nil {
			_ = f.Close()
		}
	}
	l.files, l.envs, l.local, l.claims = nil, nil, nil, nil
}
