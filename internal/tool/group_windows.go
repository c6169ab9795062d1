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
	job, err := newJob(0)
	return group{cmd, job}, err
}

// newJob makes a job object that ends its processes with its last handle. Unless the limits say otherwise, what they
// start belongs to it too.
func newJob(limit uint32) (windows.Handle, error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return 0, fmt.Errorf("making a job object: %w", err)
	}
	limits := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{
		BasicLimitInformation: windows.JOBOBJECT_BASIC_LIMIT_INFORMATION{
			LimitFlags: windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE | limit,
		},
	}
	_, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits)))
	if err != nil {
		_ = windows.CloseHandle(job)
		return 0, fmt.Errorf("making a job object: %w", err)
	}
	return job, nil
}

// StartBound starts cmd, which is ended when this process ends, however that does. What cmd starts itself is not.
func StartBound(cmd *exec.Cmd) error {
	job, err := newJob(windows.JOB_OBJECT_LIMIT_SILENT_BREAKAWAY_OK)
	if err != nil {
		return err
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.CreationFlags |= windows.CREATE_SUSPENDED
	if err := cmd.Start(); err != nil {
		_ = windows.CloseHandle(job)
		return err
	}
	return group{cmd, job}.begin() // the system closes the handle of the job with the last of ours
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
