//go:build e2e && unix

package e2e

import (
	"io/fs"
	"syscall"
)

const (
	sigStop     = syscall.SIGSTOP
	sigContinue = syscall.SIGCONT
)

func umask(mask int) (old int) { return syscall.Umask(mask) }

// names is how many a file has.
func names(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Nlink) }

// halfFree says whether the file system at dir has more room than it has used.
func halfFree(dir string) bool {
	var st syscall.Statfs_t
	return syscall.Statfs(dir, &st) == nil && st.Bfree*2 > st.Blocks
}
