//go:build unix

package proc

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// isShort says whether err is want of descriptors or memory, which passes.
func isShort(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}

// lookAt is what can be known of a process of our own PID namespace. Whether its number is given to anybody the kernel tells us
// without /proc.
func lookAt(p Process) Sight {
	if p.PID <= 0 || errors.Is(syscall.Kill(p.PID, 0), syscall.ESRCH) {
		return Gone
	}
	if blind() != "" {
		return Unseen
	}
	now, err := statOf(p.PID)
	switch {
	case err == nil && now.start == p.start:
		return Living
	case err == nil || errors.Is(err, errEnded):
		return Gone
	}
	return Unseen
}

// errEnded: the process has ended, and its parent has not asked for it.
var errEnded = errors.New("it has ended")

// StartTime is when a living process began, as the system counts it.
func StartTime(pid int) (at uint64, ok bool) {
	p, err := statOf(pid)
	return p.start, err == nil
}

// isOurs says whether the process runs as the daemon's user.
func isOurs(pid int) bool {
	uid, ok := userOf(pid)
	return ok && uid == os.Getuid()
}

// in calls f with each id in data that names an environment of ours and is followed by one of the bytes ends; the end of data is a
// zero byte. A path that leads there by another way, as through a link or in a container's mounts, names it too.
func (s search) in(data []byte, ends string, pid int, f func(id string)) {
	folder := []byte("/" + filepath.Base(s.envs) + "/")
	for at := 0; ; {
		i := bytes.Index(data[at:], folder)
		if i < 0 {
			return
		}
		before := data[:at+i]
		at += i + len(folder)
		end := bytes.IndexAny(data[at:], "/\x00\n:")
		if end < 0 {
			end = len(data) - at
		}
		id := string(data[at : at+end])
		last := byte(0)
		if at+end < len(data) {
			last = data[at+end]
		}
		if id == "" || strings.IndexByte(ends, last) < 0 {
			continue
		}
		if bytes.HasSuffix(before, []byte(filepath.Dir(s.envs))) {
			f(id)
		} else if _, asked := s.held[id]; asked && s.same(pathAt(before)+string(folder)+id, id, pid) {
			f(id)
		}
	}
}

// pathAt is the path that text ends in: what follows the last byte that separates paths in a list, a variable or a line.
func pathAt(text []byte) string {
	text = text[bytes.LastIndexAny(text, "\x00\n=:")+1:]
	return string(text[max(0, bytes.IndexByte(text, '/')):])
}

// EndMarked kills the processes whose mark is accepted, and what they start meanwhile, and returns how many there were. They are
// found by what they carry in their environment, so no stranger that got an old pid is ever hit; and where /proc has the numbers of
// another PID namespace, none is found.
func EndMarked(ours func(dir string) bool) int {
	ended := map[Process]bool{}
	for range 10 { // a tenth round finds nothing but what multiplies faster than it can be killed
		before := len(ended)
		_ = procs(func(pid int) {
			dir := MarkOf(pid)
			if dir == "" || !ours(dir) || pid == os.Getpid() {
				return
			}
			if p, err := statOf(pid); err == nil && syscall.Kill(pid, syscall.SIGKILL) == nil {
				ended[p.Process] = true
			}
		})
		if len(ended) == before {
			break
		}
	}
	return len(ended)
}
