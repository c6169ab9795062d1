//go:build unix

package pool

import "os"

// marked are the processes whose mark of a build is accepted.
func marked(ours func(dir string) bool) (pids []int) {
	_ = procs(func(pid int) {
		if dir := markOf(pid); dir != "" && ours(dir) && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	})
	return pids
}
