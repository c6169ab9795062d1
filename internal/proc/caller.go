package proc

import "os"

// CallingShell is the process that should hold what a command takes which is gone at once, as is the subshell of
// $(runt … | jq): the leader of their process group is the shell or the script. It is 0 where nobody can be seen.
func CallingShell() int {
	self, _ := statOf(os.Getpid())
	return caller(os.Getpid(), self.group, parentOf, isOurs)
}

func parentOf(pid int) int {
	if pid == os.Getpid() {
		return os.Getppid() // also where nothing else can be told
	}
	p, _ := statOf(pid)
	return p.parent
}

// caller is the group's leader if that is an ancestor, else the parent. Another user's process, such as a script that
// called su, cannot hold anything: then it is the nearest to the leader before that.
func caller(self, leader int, parent func(int) int, ours func(int) bool) int {
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
