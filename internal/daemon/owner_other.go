//go:build !linux && !darwin

package daemon

import "os"

// parentOf knows our own parent only.
func parentOf(pid int) int {
	if pid == os.Getpid() {
		return os.Getppid()
	}
	return 0
}

func isOurs(int) bool { return true }
