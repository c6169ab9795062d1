package tool

import (
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// group is a child with what it starts: a job object, which ends them all with its last handle, so also when the
// daemon is killed.
type group struct {
	cmd *exec.Cmd
	job windows.Handle
}

// newGroup prepares cmd, before its start. The child starts suspended: what it started before it is in the job would
// not be in it. Without CREATE_NO_WINDOW each child of a daemon would open a console.
func newGroup(cmd *exec.Cmd, low bool) (group, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_SUSPENDED | windows.CREATE_NO_WINDOW}
	if low {
		cmd.SysProcAttr.CreationFlags |= windows.BELOW_NORMAL_PRIORITY_CLASS
	}
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return group{}, fmt.Errorf("making a job object: %w", err)
	}
	limits := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{
		BasicLimitInformation: windows.JOBOBJECT_BASIC_LIMIT_INFORMATION{
			LimitFlags: windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
		},
	}
	_, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits)))
	if err != nil {
		_ = windows.CloseHandle(job)
		return group{}, fmt.Errorf("making a job object: %w", err)
	}
	return group{cmd, job}, nil
}

// begin comes right after the start.
func (g group) begin() error {
	var err error
	herr := g.cmd.Process.WithHandle(func(process uintptr) {
		err = windows.AssignProcessToJobObject(g.job, windows.Handle(process))
	})
	if err = errors.Join(herr, err); err == nil {
		err = resume(uint32(g.cmd.Process.Pid))
	}
	if err != nil {
		_ = g.cmd.Process.Kill()
		return fmt.Errorf("starting a child in its job object: %w", err)
	}
	return nil
}

// resume starts the one thread of a suspended process.
func resume(pid uint32) error {
	threads, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPTHREAD, 0)
	if err != nil {
		return err
	}
	defer windows.CloseHandle(threads)
	entry := windows.ThreadEntry32{Size: uint32(unsafe.Sizeof(windows.ThreadEntry32{}))}
	for err = windows.Thread32First(threads, &entry); err == nil; err = windows.Thread32Next(threads, &entry) {
		if entry.OwnerProcessID != pid {
			continue
		}
		thread, err := windows.OpenThread(windows.THREAD_SUSPEND_RESUME, false, entry.ThreadID)
		if err != nil {
			return err
		}
		defer windows.CloseHandle(thread)
		_, err = windows.ResumeThread(thread)
		return err
	}
	return err
}

// ask ends the group: a process without console and window cannot be asked.
func (g group) ask() error { return windows.TerminateJobObject(g.job, 1) }

// end kills what is left of the group, usually nothing.
func (g group) end() { _ = windows.CloseHandle(g.job) }
