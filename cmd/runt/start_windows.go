package main

import (
	"errors"
	"syscall"

	"golang.org/x/sys/windows"
)

// detached gives the daemon no console, so that no window's end is its end.
func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: windows.DETACHED_PROCESS | windows.CREATE_NEW_PROCESS_GROUP}
}

// keepFiles has nothing to do here: only what is named is inherited.
func keepFiles() {}

func alive(pid int) bool {
	if pid <= 0 {
		return false
	}
	process, err := windows.OpenProcess(windows.SYNCHRONIZE, false, uint32(pid))
	if err != nil {
		return errors.Is(err, windows.ERROR_ACCESS_DENIED)
	}
	defer windows.CloseHandle(process)
	event, err := windows.WaitForSingleObject(process, 0)
	return err == nil && event == uint32(windows.WAIT_TIMEOUT)
}

// lockedAgainst says whether a lock keeps a file from being read.
func lockedAgainst(err error) bool { return errors.Is(err, windows.ERROR_LOCK_VIOLATION) }

func processGroup() int { return 0 }
