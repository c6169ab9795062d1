//go:build unix

package tool

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// group is a child with what it starts: a process group of its own.
type group struct {
	cmd *exec.Cmd
	low bool // at low priority
}

// newGroup prepares cmd, before its start.
func newGroup(cmd *exec.Cmd, low bool) (group, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return group{cmd, low}, nil
}

// begin comes right after the start.
func (g group) begin() error {
	if g.low {
		lowerGroup(g.cmd.Process.Pid)
	}
	return nil
}

// ask asks the group to end.
func (g group) ask() error {
	if err := syscall.Kill(-g.cmd.Process.Pid, syscall.SIGTERM); errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return nil
}

// end kills what is left of the group, usually nothing.
func (g group) end() {
	if g.cmd.Process != nil {
		_ = syscall.Kill(-g.cmd.Process.Pid, syscall.SIGKILL)
	}
}
