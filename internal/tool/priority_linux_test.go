package tool

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"runtimed/internal/testkit"
)

func TestAChildGivesWayUnlessItIsUrgent(t *testing.T) {
	before := priorities(t, os.Getpid())
	low := fmt.Sprintf("nice %d, disk %d, memory %s", lowNice, ioprioBestEffort|7, lowOOMScore)
	for want, urgent := range map[string]bool{before: true, low: false} {
		cmd := exec.Command("sleep", "600")
		g, err := newGroup(cmd, !urgent)
		testkit.Check(t, err)
		testkit.Check(t, cmd.Start())
		testkit.Check(t, g.begin())
		if got := priorities(t, cmd.Process.Pid); got != want {
			t.Errorf("urgent: %t: it has %s, not %s", urgent, got, want)
		}
		g.end()
		_ = cmd.Wait() // it was killed
	}
}

// priorities are those of a process for the processor, the disk and memory.
func priorities(t *testing.T, pid int) string {
	t.Helper()
	nice, err := unix.Getpriority(unix.PRIO_PROCESS, pid) // the system call's 20-nice
	testkit.Check(t, err)
	disk, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, ioprioWhoProcess, uintptr(pid), 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	memory, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
	testkit.Check(t, err)
	return fmt.Sprintf("nice %d, disk %d, memory %s", 20-nice, disk, strings.TrimSpace(string(memory)))
}
