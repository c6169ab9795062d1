package statedir

import (
	"io"
	"os"

	"runtimed/internal/safefile"
)

// headOf returns the beginning of the regular file at path; nil for anything else.
func headOf(path string) []byte {
	f, err := safefile.OpenOwn(path, os.O_RDONLY, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return nil
	}
	return head
}
