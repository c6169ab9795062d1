//go:build unix

package server

// Flags of sys/event.h.
const (
	evError = 0x4000
	evEOF   = 0x8000
)

// isHungUp reports whether macOS's kevent says, asked whether a socket can be written to, that it never can again: the
// other end is closed for good. It sets no such flag where the other end has only ended its side. n events came, the
// first with these flags.
func isHungUp(n int, flags uint16, err error) bool {
	return err == nil && n > 0 && flags&evError == 0 && flags&evEOF != 0
}
