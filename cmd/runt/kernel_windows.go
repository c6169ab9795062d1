package main

import (
	"context"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/windows"
)

// parentGone returns once the process that started us has ended, or with ctx. parent is a handle of it that we inherited.
func parentGone(ctx context.Context, parent string) {
	n, err := strconv.ParseUint(parent, 10, 64)
	for err == nil && ctx.Err() == nil {
		var event uint32
		event, err = windows.WaitForSingleObject(windows.Handle(n), 1000)
		if event == windows.WAIT_OBJECT_0 && err == nil {
			return
		}
	}
	<-ctx.Done()
}

// handOn has a kernel inherit what its front-end has put into our hands: the handle of the front-end, and the event that interrupts.
func handOn(cmd *exec.Cmd, environ []string) {
	for _, name := range []string{"JPY_PARENT_PID", "JPY_INTERRUPT_EVENT"} {
		n, err := strconv.ParseUint(value(environ, name), 10, 64)
		if err != nil || windows.SetHandleInformation(windows.Handle(n), windows.HANDLE_FLAG_INHERIT, windows.HANDLE_FLAG_INHERIT) != nil {
			continue // it is no handle of ours, and one bad handle would keep the command from starting
		}
		if cmd.SysProcAttr == nil {
			cmd.SysProcAttr = &syscall.SysProcAttr{}
		}
		cmd.SysProcAttr.AdditionalInheritedHandles = append(cmd.SysProcAttr.AdditionalInheritedHandles, syscall.Handle(n))
	}
}
