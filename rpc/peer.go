package rpc

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// Peer is the process at the other end of a connection, as the kernel names it.
// PID is 0 if that process is in another PID namespace.
type Peer struct{ UID, PID int }

// Trusts reports whether a process of user own may talk to one of user uid.
func Trusts(own, uid int) bool { return uid == 0 || uid == own && isMapped(uid) }

// isMapped is false in a user namespace that does not know uid: all users whom it does not know show as one.
func isMapped(uid int) bool {
	if runtime.GOOS != "linux" {
		return true
	}
	ranges, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return true // a kernel without user namespaces, or a place without /proc
	}
	for line := range strings.Lines(string(ranges)) {
		var first, outside, count int64
		_, err := fmt.Sscan(line, &first, &outside, &count)
		if err == nil && first <= int64(uid) && int64(uid)-first < count {
			return true
		}
	}
	return false
}

func untrusted(path, owner string) *Error {
	return Errorf(KindUntrusted, "the %s %s belongs to %s: only a daemon of your own user or of root is trusted",
		endpointWord, path, owner).
		WithHint("set %s to a path in a folder of your own, or run as the user whose daemon it is", envSocket)
}
