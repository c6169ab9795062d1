package daemon

import (
	"os"

	"runtimed/internal/failure"
)

// CallingShell is the process that should hold what runt takes: runt itself is gone at once, and so is
// the subshell of $(runt … | jq), but the leader of their process group is the shell or the script.
func CallingShell() (int, error) {
	pid := owner(os.Getpid(), processGroup(), parentOf, isOurs)
	if pid <= 0 {
		return 0, failure.New("the process that called runt cannot be seen from here").
			WithHint("name one with --owner-pid; or use runt run, where the command itself holds the environment")
	}
	return pid, nil
}

// owner is the group's leader where that is an ancestor, else the parent. Another user's process cannot hold anything, such as the
// script that called su: then it is the nearest to the leader before that.
func owner(self, leader int, parent func(int) int, ours func(int) bool) int {
	first := parent(self)
	nearest, reached := first, false // so far, and whether it is as near as can be
	for pid, steps := first, 0; pid > 0 && steps < 1000; pid, steps = parent(pid), steps+1 {
		if reached = reached || !ours(pid); !reached {
			nearest = pid
		}
		if pid == leader {
			return nearest
		}
	}
	return first
}
