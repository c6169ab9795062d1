//go:build unix

package safefile

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

const (
	noWait   = syscall.O_NONBLOCK // a named pipe without a writer would wait for one
	noFollow = syscall.O_NOFOLLOW | noWait
)

func openFile(path string, flag int, perm fs.FileMode) (*os.File, error) {
	return os.OpenFile(path, flag, perm)
}

// Scratch opens a new file for reading and writing that is gone when nobody has it open any more.
func Scratch(prefix string) (*os.File, error) {
	f, err := os.CreateTemp("", prefix)
	if err == nil {
		_ = os.Remove(f.Name())
	}
	return f, err
}

func isLink(err error) bool {
	return errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.EMLINK) // the second one is FreeBSD's
}

// IsFull reports whether a disk is full.
func IsFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

func names(_ *os.File, info fs.FileInfo) uint64 { return linkCount(info) }

func linkCount(info fs.FileInfo) uint64 { return uint64(info.Sys().(*syscall.Stat_t).Nlink) }
