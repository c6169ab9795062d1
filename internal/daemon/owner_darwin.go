package daemon

import (
	"os"

	"golang.org/x/sys/unix"
)

// parentOf is 0 where it cannot be told.
func parentOf(pid int) int {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return 0
	}
	return int(info.Eproc.Ppid)
}

func isOurs(pid int) bool {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	return err == nil && int(info.Eproc.Ucred.Uid) == os.Geteuid()
}
