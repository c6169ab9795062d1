package daemon

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: windows.DETACHED_PROCESS | windows.CREATE_NEW_PROCESS_GROUP}
}

// Locked says whether a process holds the lock on the file at path, which keeps others from reading it here.
func Locked(path string) bool {
	_, err := os.ReadFile(path)
	return errors.Is(err, windows.ERROR_LOCK_VIOLATION)
}
