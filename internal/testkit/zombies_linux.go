package testkit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// OwnZombies counts the children of this process that have ended and were not waited for.
func OwnZombies(t *testing.T) int {
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
