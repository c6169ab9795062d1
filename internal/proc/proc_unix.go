//go:build unix

package proc

import (
	"errors"
	"os"
	"syscall"
)

// lookAt looks at a process of our own PID namespace. The kernel says without /proc whether a pid is in use.
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

// errEnded means that the process has ended and its parent has not waited for it.
var errEnded = errors.New("it has ended")

// StartTime returns when a living process began, in the system's unit.
func StartTime(pid int) (at uint64, ok bool) {
	p, err := statOf(pid)
	return p.start, err == nil
}

// isOurs reports whether the process runs as the daemon's user.
func isOurs(pid int) bool {
	uid, ok := userOf(pid)
	return ok && uid == os.Getuid()
}

// EndMarked kills the processes whose mark ours accepts, with what they start meanwhile, and returns their number.
// The mark is in their environment, so a reused pid is never hit.
func EndMarked(ours func(dir string) bool) int {
	ended := map[Process]bool{}
	for range 10 { // more rounds find only what multiplies faster than it can be killed
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

// Marked returns the processes whose mark ours accepts.
func Marked(ours func(dir string) bool) (pids []int) {
	_ = procs(func(pid int) {
		if dir := MarkOf(pid); dir != "" && ours(dir) && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	})
	return pids
}
