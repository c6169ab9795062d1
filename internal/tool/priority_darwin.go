package tool

import "golang.org/x/sys/unix"

// LowerThread does nothing: macOS has no priority for a thread of Go.
func LowerThread() {}

// lowerGroup makes a process group give way to interactive ones.
func lowerGroup(pgid int) { _ = unix.Setpriority(unix.PRIO_PGRP, pgid, 10) }
