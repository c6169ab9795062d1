//go:build unix

package proc

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
)

// in calls f with each id in data that names an environment of ours and is followed by one of the bytes in ends; the
// end of data counts as a zero byte. A path that leads there another way, as through a link or a container's mounts,
// counts too.
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

// same reports whether path, as the process pid sees it, is the environment id. In another mount namespace it is
// taken to be.
func (s search) same(path, id string, pid int) bool {
	if !sameMounts(pid) {
		return true
	}
	a, err := os.Stat(path)
	b, err2 := os.Stat(s.envs + "/" + id)
	return err == nil && err2 == nil && os.SameFile(a, b)
}

// pathAt returns the path at the end of text, from the last byte that separates paths in a list, a variable or a
// line.
func pathAt(text []byte) string {
	text = text[bytes.LastIndexAny(text, "\x00\n=:")+1:]
	return string(text[max(0, bytes.IndexByte(text, '/')):])
}
