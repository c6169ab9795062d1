//go:build !linux

package statedir

// mountedPath has no quick answer here.
func mountedPath(string) (mounted, known bool) { return false, false }

// Mounts finds nothing here; a removal does.
func Mounts(string) []string { return nil }
