//go:build unix

package server

import (
	"golang.org/x/sys/unix"
)

func descriptorLimit() int {
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) != nil {
		return 256
	}
	return int(min(lim.Cur, 1<<20))
}
