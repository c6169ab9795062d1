package main

import (
	"os/exec"
	"strings"
	"testing"
)

// The command line must work whatever the pool's code does, and start fast.
func TestReachesNeitherPoolNorFx(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, dep := range strings.Fields(string(out)) {
		if dep == "runtimed/pool" || strings.HasPrefix(dep, "go.uber.org/fx") {
			t.Errorf("runt reaches %s", dep)
		}
	}
}
