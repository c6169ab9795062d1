//go:build unix

package proc

import (
	"bytes"
	"errors"
	"os"
	"syscall"
)

// lookAt looks at a process of our own PID namespace. The kernel says without /proc whether a pid is in use.
func lookAt(p Process) Sight {
	if p.PID <= 0 || errors.Is(syscall.Kill(p.PID, 0), syscall.ESRCH) {
		return Gone
	}
	if Blind() != "" {
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

// isOurs reports whether the process runs as the daemon's user.
func isOurs(pid int) bool {
	uid, ok := userOf(pid)
	return ok && uid == os.Getuid()
}

// EndMarked kills the processes whose mark ours accepts, with what they start meanwhile, and returns their number.
// The mark is a variable in their environment, so a reused pid is never hit.
func EndMarked(name string, ours func(dir string) bool) int {
	ended := map[Process]bool{}
	for range 10 { // more rounds find only what multiplies faster than it can be killed
		before := len(ended)
		eachMarked(name, ours, func(pid int) {
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
func Marked(name string, ours func(dir string) bool) (pids []int) {
	eachMarked(name, ours, func(pid int) { pids = append(pids, pid) })
	return pids
}

func eachMarked(name string, ours func(dir string) bool, f func(pid int)) {
	_ = procs(func(pid int) {
		if dir := MarkOf(pid, name); dir != "" && ours(dir) && pid != os.Getpid() {
			f(pid)
		}
	})
}

// MarkOf returns the value of the mark name that a process was started with, or "".
func MarkOf(pid int, name string) string {
	for v := range bytes.SplitSeq(environOf(pid), []byte{0}) {
		if value, ok := bytes.CutPrefix(v, []byte(name+"=")); ok {
			return string(value)
		}
	}
	return ""
}
