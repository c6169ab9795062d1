package envdir

import "runtimed/internal/safefile"

// ReadOwn reads a file of ours.
func ReadOwn(path string, limit int64) (data []byte, err error) {
	return safefile.Patiently(func() ([]byte, error) { return safefile.ReadOwn(path, limit) })
}

// ReadInside reads a file of an environment, which its packages and its user may have made into anything.
func ReadInside(path string) (data []byte, err error) {
	return safefile.Patiently(func() ([]byte, error) { return safefile.Read(path, MaxInside) })
}

const MaxInside = 64 << 20 // bytes; the longest file list of a package has some five million
