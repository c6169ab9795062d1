package tool

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The numbers of ioprio_set(2), and what a build gets.
const (
	ioprioWhoProcess = 1
	ioprioWhoPgrp    = 2
	ioprioBestEffort = 2 << 13
	ioprioIdle       = 3 << 13
	lowNice          = 10
	lowOOMScore      = "500"
)

// LowerThread gives the calling thread the lowest priority for processor and disk.
func LowerThread() {
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, 19) // on Linux, of the thread
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ioprioWhoProcess, 0, ioprioIdle)
}

// lowerGroup makes a process group give way to interactive ones. Where memory runs out, its leader and what that starts
// from now on is ended before anything else: a build can be repeated, and a kernel's data is lost.
func lowerGroup(pgid int) {
	_ = unix.Setpriority(unix.PRIO_PGRP, pgid, lowNice)
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ioprioWhoPgrp, uintptr(pgid), ioprioBestEffort|7)
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pgid), []byte(lowOOMScore), 0)
}
