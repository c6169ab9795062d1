package rpc

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// Peer is the process at the other end of a connection, as the kernel names it.
// PID is 0 where it cannot be told: the process lives in another pid namespace.
type Peer struct{ UID, PID int }

// Trusts says whether the process of a user may be at the other end for own: that user or root, on either side.
func Trusts(own, uid int) bool { return uid == 0 || uid == own && isMapped(uid) }

// isMapped is false in a user namespace that does not know uid. All users whom it does not know show as one, so they may be anybody.
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
		if _, err := fmt.Sscan(line, &first, &outside, &count); err == nil && first <= int64(uid) && int64(uid)-first < count {
			return true
		}
	}
	return false
}

// untrusted is what a client says of a socket or pipe that it does not use; owner says whose it is.
func untrusted(path, owner string) *Error {
	return Errorf(KindUntrusted, "the %s %s belongs to %s: only a daemon of your own user or of root is trusted", endpointWord, path, owner).
		WithHint("set %s to a path in a folder of your own, or run as the user whose daemon it is", envSocket)
}
