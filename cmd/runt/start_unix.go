//go:build unix

package main

import (
	"os"
	"strconv"
	"syscall"
)

// detached gives the daemon a session of its own, so that no terminal's end is its end.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// keepFiles has what this process inherited end with it: a lock that a script holds, or a pipe that it reads to its end, must not be
// held by a daemon.
func keepFiles() {
	entries, _ := os.ReadDir("/dev/fd")
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}

func alive(pid int) bool { return pid > 0 && syscall.Kill(pid, 0) != syscall.ESRCH }

// lockedAgainst says whether a lock keeps a file from being read; here it keeps others from locking it only.
func lockedAgainst(error) bool { return false }

func processGroup() int { return syscall.Getpgrp() }
