//go:build unix

package statedir

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

// IsLent says whether a folder is root's and counts as one's own, since only root, group 0 and we may write to it:
// images that run under an arbitrary uid have such.
func IsLent(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	perm := info.Mode().Perm()
	return ok && st.Uid == 0 && os.Geteuid() != 0 && perm&0o002 == 0 && (perm&0o020 == 0 || st.Gid == 0)
}
