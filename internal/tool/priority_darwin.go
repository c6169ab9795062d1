package tool

import "golang.org/x/sys/unix"

// LowerThread does nothing: a thread of Go has no priority of its own on macOS.
func LowerThread() {}

// lowerGroup has a process group run behind everything interactive, yet go on.
func lowerGroup(pgid int) { _ = unix.Setpriority(unix.PRIO_PGRP, pgid, 10) }
