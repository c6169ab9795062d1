package daemon

import (
	"os"

	"golang.org/x/sys/unix"

	"runtimed/internal/safefile"
)

// scratchFile is in memory: there may be no folder that can be written, and then the daemon says so in it.
func scratchFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("runtimed-start", unix.MFD_CLOEXEC)
	if err != nil { // a sandbox may forbid it
		return safefile.Scratch("runtimed-start-")
	}
	return os.NewFile(uintptr(fd), "runtimed-start"), nil
}
