package statedir

import (
	"io"
	"os"

	"runtimed/internal/safefile"
)

// headOf is how the regular file at path begins; nil where there is none, or a link.
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
