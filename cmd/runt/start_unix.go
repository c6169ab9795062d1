//go:build unix

package main

import "syscall"

// detached gives the daemon a session of its own, so that no terminal's end is its end.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func alive(pid int) bool { return pid > 0 && syscall.Kill(pid, 0) != syscall.ESRCH }

// lockedAgainst says whether a lock keeps a file from being read; here it keeps others from locking it only.
func lockedAgainst(error) bool { return false }

func processGroup() int { return syscall.Getpgrp() }
