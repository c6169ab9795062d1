//go:build unix

package proc

import (
	"errors"
	"os"
	"syscall"
)

// lookAt is what can be known of a process of our own PID namespace. Whether its number is given to anybody the kernel tells us
// without /proc.
func lookAt(p Process) Sight {
	if p.PID <= 0 || errors.Is(syscall.Kill(p.PID, 0), syscall.ESRCH) {
		return Gone
	}
	if blind() != "" {
		return Unseen
	}
	now, err := statOf(p.PID)
	switch {
	case err == nil && now.start == p.start:
		return Living
	case err == nil || errors.Is(err, errEnded):
		return Gone
	}
	return Unseen
}

// errEnded: the process has ended, and its parent has not asked for it.
var errEnded = errors.New("it has ended")

// StartTime is when a living process began, as the system counts it.
func StartTime(pid int) (at uint64, ok bool) {
	p, err := statOf(pid)
	return p.start, err == nil
}

// isOurs says whether the process runs as the daemon's user.
func isOurs(pid int) bool {
	uid, ok := userOf(pid)
	return ok && uid == os.Getuid()
}

// EndMarked kills the processes whose mark is accepted, and what they start meanwhile, and returns how many there were. They are
// found by what they carry in their environment, so no stranger that got an old pid is ever hit; and where /proc has the numbers of
// another PID namespace, none is found.
func EndMarked(ours func(dir string) bool) int {
	ended := map[Process]bool{}
	for range 10 { // a tenth round finds nothing but what multiplies faster than it can be killed
		before := len(ended)
		_ = procs(func(pid int) {
			dir := MarkOf(pid)
			if dir == "" || !ours(dir) || pid == os.Getpid() {
				return
			}
			if p, err := statOf(pid); err == nil && syscall.Kill(pid, syscall.SIGKILL) == nil {
				ended[p.Process] = true
			}
		})
		if len(ended) == before {
			break
		}
	}
	return len(ended)
}

// Marked are the processes whose mark of a build is accepted.
func Marked(ours func(dir string) bool) (pids []int) {
	_ = procs(func(pid int) {
		if dir := MarkOf(pid); dir != "" && ours(dir) && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	})
	return pids
}
