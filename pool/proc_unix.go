//go:build unix

package pool

import (
	"bytes"
	"errors"
	"os"
	"syscall"
)

// isShort says whether err is want of descriptors or memory, which passes.
func isShort(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}

// isOurs says whether the process runs as the daemon's user.
func isOurs(pid int) bool {
	uid, ok := userOf(pid)
	return ok && uid == os.Getuid()
}

// idsIn calls f with the name that follows each below in data and is itself followed by more of a path.
func idsIn(data, below []byte, f func(id string)) {
	for {
		i := bytes.Index(data, below)
		if i < 0 {
			return
		}
		data = data[i+len(below):]
		if end := bytes.IndexAny(data, "/\x00\n"); end > 0 && data[end] == '/' {
			f(string(data[:end]))
		}
	}
}

// endMarked kills the processes whose mark is accepted, and what they start meanwhile, and returns how many there were. They are
// found by what they carry in their environment, so no stranger that got an old pid is ever hit.
func endMarked(ours func(dir string) bool) int {
	ended := map[proc]bool{}
	for range 10 { // a tenth round finds nothing but what multiplies faster than it can be killed
		before := len(ended)
		procs(func(pid int) {
			dir := markOf(pid)
			if dir == "" || !ours(dir) || pid == os.Getpid() {
				return
			}
			if start, ok := startTime(pid); ok && syscall.Kill(pid, syscall.SIGKILL) == nil {
				ended[proc{pid, start}] = true
			}
		})
		if len(ended) == before {
			break
		}
	}
	return len(ended)
}
