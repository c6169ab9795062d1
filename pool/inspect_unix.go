//go:build unix

package pool

import (
	"io/fs"
	"os"
	"syscall"
)

// OwnerUID is whose file it is; false where the system has no such numbers.
func OwnerUID(info fs.FileInfo) (int, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(st.Uid), true
}

// marked are the processes whose mark of a build is accepted.
func marked(ours func(dir string) bool) (pids []int) {
	procs(func(pid int) {
		if dir := markOf(pid); dir != "" && ours(dir) && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	})
	return pids
}
