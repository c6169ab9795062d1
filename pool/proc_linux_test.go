package pool

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const (
	tellsOfExits = true
	mapsAreSeen  = true
)

// mapFile has this process map a file.
func mapFile(t *testing.T, path string) (unmap func()) {
	t.Helper()
	if err := os.WriteFile(path, []byte("so"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := syscall.Mmap(int(f.Fd()), 0, 2, syscall.PROT_READ, syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	return func() { _ = syscall.Munmap(data) }
}

// ownZombies counts the children of this process that have ended and were not asked for.
func ownZombies(t *testing.T) int {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, task := range tasks {
		data, err := os.ReadFile(task)
		if err != nil {
			continue // the thread ended
		}
		for _, pid := range strings.Fields(string(data)) {
			stat, err := os.ReadFile("/proc/" + pid + "/stat")
			if err == nil && strings.Contains(string(stat), ") Z ") {
				n++
			}
		}
	}
	return n
}
