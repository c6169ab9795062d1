//go:build unix

package proc

import "os"

// Marked are the processes whose mark of a build is accepted.
func Marked(ours func(dir string) bool) (pids []int) {
	_ = procs(func(pid int) {
		if dir := MarkOf(pid); dir != "" && ours(dir) && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	})
	return pids
}
