package daemon

import (
	"syscall"

	"golang.org/x/sys/windows"

	"runtimed/internal/safefile"
)

func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: windows.DETACHED_PROCESS | windows.CREATE_NEW_PROCESS_GROUP}
}

// Locked says whether a process holds the lock on the file at path.
func Locked(path string) bool {
	lock := safefile.NewFileLock(path)
	free, err := lock.Share()
	_ = lock.Close()
	return !free && err == nil
}
