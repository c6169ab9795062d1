//go:build !linux

package proc

// First does nothing: there are no containers here.
func First() (code int, ok bool) { return 0, false }
