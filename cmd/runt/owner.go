package main

import (
	"os"
)

// callingShell is the process that should hold what runt takes: runt itself is gone at once, and so is
// the subshell of $(runt … | jq), but the leader of their process group is the shell or the script.
func callingShell() (int, error) {
	pid := owner(os.Getpid(), processGroup(), parentOf)
	if pid <= 0 {
		return 0, failed("the process that called runt cannot be seen from here").
			withHint("name one with --owner-pid; or use runt run, where the command itself holds the environment")
	}
	return pid, nil
}

// owner is the group's leader where that is an ancestor, else the parent.
func owner(self, leader int, parent func(int) int) int {
	first := parent(self)
	for pid, steps := first, 0; pid > 0 && steps < 1000; pid, steps = parent(pid), steps+1 {
		if pid == leader {
			return leader
		}
	}
	return first
}
