package proc

import "os"

// CallingShell returns the process that should own what a short command takes: the leader of its process group, which
// is the shell or the script. (In $(runt … | jq) the parent is a subshell that ends at once.) It is 0 if no process
// can be seen.
func CallingShell() int {
	self, _ := statOf(os.Getpid())
	return caller(os.Getpid(), self.group, parentOf, isOurs)
}

func parentOf(pid int) int {
	p, err := statOf(pid)
	if pid == os.Getpid() {
		pid = os.Getppid() // nothing better can be told
		if above, aerr := statOf(pid); err == nil && aerr == nil && above.isYounger(p) {
			return 0
		}
		return pid
	}
	return p.parent
}

// isYounger reports whether p began after child, and so did not start it. Windows tells the pid of a parent that has
// ended, which may be a stranger's by now.
func (p stat) isYounger(child stat) bool { return p.start > child.start }

// caller returns the leader of the group if that is an ancestor of self, else the parent. A process of another user,
// such as a script that called su, cannot own anything; then caller returns the ancestor nearest to the leader that
// can.
func caller(self, leader int, parent func(int) int, ours func(int) bool) int {
	first := parent(self)
	nearest, reached := first, false // so far, and whether it can get no nearer
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
