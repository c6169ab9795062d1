//go:build unix

package daemon

import (
	"os"
	"syscall"

	"runtimed/internal/safefile"
)

func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// Locked says whether a process holds the lock on the file at path. The kernel answers for every PID namespace, and a
// process that has ended holds none, even where its parent never asks for it.
func Locked(path string) bool {
	f, err := safefile.OpenOwn(path, os.O_RDONLY, 0)
	if err != nil {
		return false
	}
	defer f.Close() // which frees what this took
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
		if err != syscall.EINTR {
			return err == syscall.EWOULDBLOCK
		}
	}
}
