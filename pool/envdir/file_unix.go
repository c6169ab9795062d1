//go:build unix

package envdir

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// WriteWhole replaces the file at path: after a kill there is the old one or the new one. tmp is a folder on the same
// file system.
func WriteWhole(path string, data []byte, tmp string) error {
	return renameio.WriteFile(path, data, 0o600, renameio.WithTempDir(tmp))
}

// inodeOf tells the file at path from a later one of that name.
func inodeOf(_ string, info fs.FileInfo) (uint64, error) {
	return info.Sys().(*syscall.Stat_t).Ino, nil
}

// inode identifies a file with several names.
type inode struct{ dev, ino uint64 }

// onDisk returns the bytes that a file takes on disk, and its identity if it has several names.
func onDisk(info fs.FileInfo) (size int64, file inode, several bool) {
	st := info.Sys().(*syscall.Stat_t)
	return st.Blocks * 512, inode{uint64(st.Dev), st.Ino}, st.Nlink > 1 && !info.IsDir()
}

// FreeSpace returns the bytes that may still be written below dir.
func FreeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

func isReadOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

// sameVolume reports whether two files are on one file system.
func sameVolume(a, b fs.FileInfo) bool {
	sa, aok := a.Sys().(*syscall.Stat_t)
	sb, bok := b.Sys().(*syscall.Stat_t)
	return aok && bok && sa.Dev == sb.Dev
}

// SameDevice reports whether files can be linked from one folder to the other.
func SameDevice(a, b string) bool {
	var sa, sb syscall.Stat_t
	return syscall.Stat(a, &sa) == nil && syscall.Stat(b, &sb) == nil && sa.Dev == sb.Dev
}

// damageHere are none besides those that every system has.
var damageHere []syscall.Errno
