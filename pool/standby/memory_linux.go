package standby

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

const (
	leastFree    = 512 << 10 // KiB of memory that may be had without swapping
	mostPressure = 10.0      // percent of the last ten seconds in which somebody waited for memory
)

// MemoryShort says why the machine has no memory for standbys; empty if it has.
func MemoryShort() string {
	if free, ok := field("/proc/meminfo", "MemAvailable:"); ok && free < leastFree {
		return fmt.Sprintf("only %d MiB of memory are free", int(free)>>10)
	}
	if waited, ok := field("/proc/pressure/memory", "avg10="); ok && waited > mostPressure {
		return fmt.Sprintf("processes waited for memory in %.0f %% of the last ten seconds", waited)
	}
	return ""
}

// field is the first number after name in a file of proc(5).
func field(path, name string) (float64, bool) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	_, rest, found := strings.Cut(string(data), name)
	words := strings.Fields(rest)
	if !found || len(words) == 0 {
		return 0, false
	}
	n, err := strconv.ParseFloat(words[0], 64)
	return n, err == nil
}
