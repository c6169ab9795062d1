package proc

import (
	"fmt"
	"strings"
)

// EnvironOf is the environment that a process of ours was started with; nil where it cannot be seen.
func EnvironOf(pid int) []string {
	data, err := readFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || len(data) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
}
