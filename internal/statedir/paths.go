package statedir

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"runtimed/internal/safefile"
)

const (
	// SocketIsFile is false on Windows, where the socket is a pipe, which is gone with the daemon.
	SocketIsFile = runtime.GOOS != "windows"
	// foldersLock: on Windows a folder cannot be locked, and need not be: nobody can delete a lock file that is open.
	foldersLock = runtime.GOOS != "windows"
)

// Paths are where a daemon keeps its things.
type Paths struct {
	Socket string
	Folder string // beside the socket: the lock, daemon.json and the log, where clients find them
	State  string // environments, lock files and tools; Folder, unless cache_dir or RUNTIMED_SOCKET say otherwise
	Own    string // the state directory by our own rule, whose rights we may put right; empty where HOME does not tell
}

// Lock is the path of the lock beside the socket.
func (p Paths) Lock() string { return filepath.Join(p.Folder, LockName) }

// Status is the path of daemon.json.
func (p Paths) Status() string { return filepath.Join(p.Folder, StatusName) }

// Log is the path of the log file.
func (p Paths) Log() string { return filepath.Join(p.Folder, LogName) }

// Envs is the folder of the environments.
func (p Paths) Envs() string { return filepath.Join(p.State, "envs") }

// FolderOf is the folder in which clients look for what belongs to a socket. own is that of a pipe, which lies in none.
func FolderOf(socket, own string) string {
	if SocketIsFile {
		return filepath.Dir(socket)
	}
	return own
}

// SamePlace says whether two paths name the same file, be it there or not, also where a link leads to its folder.
func SamePlace(a, b string) bool {
	if a == b {
		return true
	}
	x, err := os.Stat(filepath.Dir(a))
	y, yerr := os.Stat(filepath.Dir(b))
	return err == nil && yerr == nil && os.SameFile(x, y) && filepath.Base(a) == filepath.Base(b)
}

// Shared says whether the user keeps other files beside the socket, so that what lies there must show that it is ours.
func (p Paths) Shared() bool { return p.Folder != p.Own }

// Check refuses a folder that is another's, or was configured and is open to others. It touches nothing. One that is
// not there yet is fine, unless root would make it in a user's folder.
func (p Paths) Check() error {
	for _, dir := range []string{p.Folder, p.State} {
		if err := CheckPlace(dir); err != nil {
			return err
		}
		info, err := os.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("looking at the state directory: %w", err)
		}
		uid, known := OwnerUID(info)
		open, ours := isOpen(info), !known || uid == os.Getuid()
		switch {
		case IsLent(info):
		case open && (!ours || info.Mode()&fs.ModeSticky != 0): // like /tmp: to close it would break the machine
			return fmt.Errorf("the folder %s is for others too: name one of your own, with mode 0700, in its place",
				dir)
		case !ours:
			return &OwnerError{What: "the folder " + dir, UID: uid, Own: os.Geteuid()}
		case open && dir != p.Own:
			return fmt.Errorf("the folder %s is open to others (mode %04o): run chmod 700 on it, or name another",
				dir, info.Mode().Perm())
		}
	}
	return nil
}

// isOpen says whether others may use a file. On Windows folders get their rights from the user's profile.
func isOpen(info fs.FileInfo) bool { return SocketIsFile && info.Mode().Perm()&0o077 != 0 }

// Prepare makes the folders for their owner alone. closed is called for our own one where it was open to others, and
// was closed.
func (p Paths) Prepare(closed func(dir string, was fs.FileMode)) error {
	for _, dir := range []string{p.Folder, p.State} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("making the state directory: %w", err)
		}
		info, err := os.Stat(dir)
		if err != nil {
			return fmt.Errorf("looking at the state directory: %w", err)
		}
		if uid, known := OwnerUID(info); dir == p.Own && isOpen(info) && (!known || uid == os.Getuid()) {
			if err := os.Chmod(dir, 0o700); err != nil {
				return fmt.Errorf("closing the state directory to others: %w", err)
			}
			closed(dir, info.Mode().Perm())
		}
		if err := probe(dir); err != nil {
			return fmt.Errorf("the state directory %s cannot be written: %w", dir, err)
		}
	}
	return nil
}

// probe writes a file: rights alone do not tell of a read-only file system. A full disk is fine: what is ready can be
// leased, and builds say what they lack.
func probe(dir string) error {
	f, err := os.CreateTemp(dir, ".writable-")
	var path *fs.PathError
	switch {
	case safefile.IsFull(err):
		return nil
	case errors.As(err, &path):
		return path.Err
	case err != nil:
		return err
	}
	_ = f.Close()
	return os.Remove(f.Name())
}

// SocketIsDead says whether the socket at path was left by a daemon that is gone: nobody listens on it.
func SocketIsDead(path string) bool {
	if info, err := os.Lstat(path); err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	nc, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = nc.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
