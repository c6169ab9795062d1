//go:build unix

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// What differs between systems; system_windows.go has the same names.

const (
	socketIsFile = true
	foldersLock  = true // a folder can be locked, and has to be: a lock file can be deleted
)

// besideSocket is the folder where clients look for what belongs to the socket.
func besideSocket(socket, _ string) string { return filepath.Dir(socket) }

// rights says whether others may use a file, and whether it is our user's.
func rights(info fs.FileInfo) (open, ours bool) {
	return info.Mode().Perm()&0o077 != 0, int(info.Sys().(*syscall.Stat_t).Uid) == os.Getuid()
}

func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// listens says whether f is a stream socket that somebody has made listen.
func listens(f *os.File) bool {
	kind, err := unix.GetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_TYPE)
	listens, lerr := unix.GetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return err == nil && lerr == nil && kind == unix.SOCK_STREAM && listens != 0
}

// isJournal says whether f is the stream that systemd reads for its journal. The variable alone does not tell: children inherit it.
func isJournal(f *os.File) bool {
	var dev, inode uint64
	if n, err := fmt.Sscanf(os.Getenv("JOURNAL_STREAM"), "%d:%d", &dev, &inode); n != 2 || err != nil {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && uint64(st.Dev) == dev && st.Ino == inode
}
