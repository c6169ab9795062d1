//go:build unix

package tool

import (
	"os"
	"strconv"
	"syscall"
)

// KeepFiles keeps the files that this process inherited from its children: a lock that a script holds, or a pipe that
// it reads to its end, must not be held by what outlives us.
func KeepFiles() {
	entries, _ := os.ReadDir("/dev/fd")
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}
