package statedir

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// mountInfo is where Linux lists the mounts that this process sees (proc(5)).
const mountInfo = "/proc/self/mountinfo"

// MountLine is a line of mountinfo.
type MountLine struct {
	At      string // mount point
	Type    string // of the file system
	Options string // of the mount and the file system, separated by commas
}

// MountLines returns the mounts that this process sees, in the order they were made.
func MountLines() ([]MountLine, error) { return readMounts(mountInfo) }

func readMounts(path string) (list []MountLine, err error) {
	data, err := os.ReadFile(path)
	for line := range bytes.Lines(data) {
		before, after, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " - ")
		// Only single spaces separate: the second field, the source, may be empty, and a path may have any other space.
		mount, system := strings.Split(before, " "), strings.Split(after, " ")
		if len(mount) > 5 && len(system) > 1 {
			list = append(list, MountLine{unescapeMount(mount[4]), system[0], mount[5] + "," + system[len(system)-1]})
		}
	}
	return list, err
}

// innermost returns the mount that path is on, which is absolute and without links. Of several at one place the last
// counts.
func innermost(lines []MountLine, path string) (m MountLine) {
	for _, l := range lines {
		inside := l.At == "/" || path == l.At || strings.HasPrefix(path, l.At+"/")
		if inside && len(l.At) >= len(m.At) {
			m = l
		}
	}
	return m
}

// unescapeMount decodes a path of mountinfo, where spaces and a few other bytes are octal.
func unescapeMount(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '\\' && i+3 < len(path) {
			if c, err := strconv.ParseUint(path[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(path[i])
	}
	return b.String()
}
