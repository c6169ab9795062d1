//go:build unix

package main

import (
	"errors"
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
