package statedir

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
	"unicode/utf16"

	"runtimed/internal/safefile"
)

const (
	// SocketIsFile is false on Windows, where the socket is a pipe.
	SocketIsFile = runtime.GOOS != "windows"
	// foldersLock is false on Windows, where nobody can delete an open lock file.
	foldersLock = runtime.GOOS != "windows"
)

// Paths are the places of a daemon.
type Paths struct {
	Socket string
	Folder string // of the socket, the lock, daemon.json and the log, where clients look
	State  string // of environments, lock files and tools; Folder by default
	Own    string // the default state directory, whose mode we may fix; empty if HOME is missing
}

// Lock is the lock file beside the socket.
func (p Paths) Lock() string { return filepath.Join(p.Folder, LockName) }

// Status is daemon.json.
func (p Paths) Status() string { return filepath.Join(p.Folder, StatusName) }

// Log is the log file.
func (p Paths) Log() string { return filepath.Join(p.Folder, LogName) }

// Envs is the folder of the environments.
func (p Paths) Envs() string { return filepath.Join(p.State, "envs") }

// FolderOf is the folder of a socket, or own for a pipe.
func FolderOf(socket, own string) string {
	if SocketIsFile {
		return filepath.Dir(socket)
	}
	return own
}

// SamePlace reports whether two paths name the same file, which need not exist, through links to its folder.
func SamePlace(a, b string) bool {
	if a == b {
		return true
	}
	x, err := os.Stat(filepath.Dir(a))
	y, yerr := os.Stat(filepath.Dir(b))
	return err == nil && yerr == nil && os.SameFile(x, y) && filepath.Base(a) == filepath.Base(b)
}

// RealPath resolves the links in path, if it is there.
func RealPath(path string) string {
	to, _ := safefile.Resolve(path)
	return cmp.Or(to, path)
}

// Shared reports whether the socket's folder may hold the user's files.
func (p Paths) Shared() bool { return p.Folder != p.Own }

// Check refuses folders that are not for the daemon; see CheckFolder. Nothing is changed.
func (p Paths) Check() error { return cmp.Or(p.CheckFolder(p.Folder), p.CheckFolder(p.State)) }

// CheckFolder refuses a folder that is another user's, or was configured and is open to others. A missing one is
// fine, unless root would make it in a user's folder.
func (p Paths) CheckFolder(dir string) error {
	if err := cmp.Or(CheckPlace(dir), CheckLocal(dir)); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking at the state directory: %w", err)
	}
	uid, known := OwnerUID(info)
	open, ours := isOpen(info), !known || uid == os.Getuid()
	switch {
	case IsLent(info):
	case open && (!ours && info.Mode()&0o002 != 0 || info.Mode()&fs.ModeSticky != 0): // like /tmp, which must stay open
		return fmt.Errorf("the folder %s is for others too: name one of your own, with mode 0700, in its place", dir)
	case !ours:
		return &OwnerError{What: "the folder " + dir, UID: uid, Own: os.Geteuid()}
	case open && dir != p.Own: // it may be shared on purpose
		return fmt.Errorf("the folder %s is open to others (mode %04o): run chmod 700 on it, or name another", dir,
			info.Mode().Perm())
	}
	return nil
}

// isOpen reports whether others may use a file. On Windows the user's profile protects it.
func isOpen(info fs.FileInfo) bool { return SocketIsFile && info.Mode().Perm()&0o077 != 0 }

// Closes reports whether Prepare closes a folder to others: only the default one.
func (p Paths) Closes(dir string, info fs.FileInfo) bool {
	uid, known := OwnerUID(info)
	return dir == p.Own && isOpen(info) && (!known || uid == os.Getuid())
}

// Prepare makes the folders with mode 0700. closed is called if our default one was open to others and was closed.
func (p Paths) Prepare(closed func(dir string, was fs.FileMode)) error {
	for _, dir := range []string{p.Folder, p.State} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("making the state directory: %w", err)
		}
		if err := CheckLocal(dir); err != nil { // somebody else was quicker
			return err
		}
		info, err := os.Stat(dir)
		if err != nil {
			return fmt.Errorf("looking at the state directory: %w", err)
		}
		if p.Closes(dir, info) {
			if err := os.Chmod(dir, 0o700); err != nil {
				return fmt.Errorf("closing the state directory to others: %w", err)
			}
			closed(dir, info.Mode().Perm())
		}
		if err := Writable(dir); err != nil {
			return fmt.Errorf("the state directory %s cannot be written: %w", dir, err)
		}
	}
	return nil
}

// SocketIsDead reports whether nobody listens on the socket at path.
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

// programsBound is true on Windows; see maxLength.
const programsBound = runtime.GOOS == "windows"

// Windows starts programs, and gives them a working folder, only where the path has fewer than 260 characters, whatever
// its settings. The rest of an environment's paths may be longer only if long paths are turned on.
const (
	// maxLength leaves room for \envs\ID\Scripts\python.exe, with the longest name of a pool in ID.
	maxLength = 190
	// roomyLength leaves room for the deepest file of an environment of ipykernel, ipywidgets and pip: 160 characters
	// with \envs\uv-01234567. Pools with long names and modules' temporary files need some more.
	roomyLength = 80
)

// CheckLength refuses a state directory, an absolute path, so long that no program in it could be started. Only Windows
// has such a bound.
func CheckLength(dir string) error {
	if !programsBound {
		return nil
	}
	if n := lengthOf(dir); n > maxLength {
		return fmt.Errorf("the path has %d characters, and Windows starts no program in an environment below one of "+
			"more than %d: %s", n, maxLength, dir)
	}
	return nil
}

// IsCramped reports whether packages below the state directory dir may have files whose paths Windows takes only with
// long paths turned on, which they are not.
func IsCramped(dir string) bool { return programsBound && lengthOf(dir) > roomyLength && !longPaths() }

// lengthOf counts as Windows does, with short names and links resolved as far as the path is there.
func lengthOf(dir string) int {
	up := Standing(dir)
	return len(utf16.Encode([]rune(RealPath(up) + dir[len(up):])))
}
