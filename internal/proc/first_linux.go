package proc

import (
	"errors"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// First does the duties of a container's first process, which the kernel makes the parent of orphans: as the program
// does not wait for them, they would stay as zombies. It runs the program again as its child, passes signals on to it,
// and waits for whatever ends. Once the child has ended, it returns the child's exit code; the kernel then ends what is
// left. In any other process ok is false, and nothing was done.
func First() (code int, ok bool) {
	if os.Getpid() != 1 || os.Getenv("LISTEN_PID") == "1" { // sockets were passed to this very process
		return 0, false
	}
	self, err := os.Executable()
	if err != nil {
		return 0, false // without /proc
	}
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	attributes := &syscall.SysProcAttr{}
	_, err = unix.IoctlGetInt(0, unix.TIOCGPGRP)
	terminal := err == nil
	// Whoever made the container without a terminal of its own, as unshare does, reads from it later. It could not be
	// given back: a group from outside has no number here. So the child stays there, and gets what the terminal sends.
	lent := terminal && unix.Getpgrp() == 0
	if terminal && !lent { // what the terminal sends goes to the child
		attributes.Foreground, attributes.Ctty = true, 0
	}
	child, err := os.StartProcess(self, os.Args,
		&os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}, Sys: attributes})
	if err != nil {
		signal.Reset()
		return 0, false
	}
	for s := range signals {
		switch s {
		case syscall.SIGCHLD:
			if code, ended := waitAll(child.Pid); ended {
				return code, true
			}
		case syscall.SIGURG, syscall.SIGPIPE, syscall.SIGTTIN, syscall.SIGTTOU: // Go's own, and the terminal's
		case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTSTP, syscall.SIGWINCH:
			if !lent { // else the child has it already
				_ = child.Signal(s)
			}
		default:
			_ = child.Signal(s) // it may just have ended
		}
	}
	return 0, false
}

// waitAll waits for all children that have ended. It reports whether child is one of them, and how that ended.
func waitAll(child int) (code int, ended bool) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil || pid <= 0:
			return code, ended
		case pid == child && status.Signaled():
			code, ended = 128+int(status.Signal()), true
		case pid == child:
			code, ended = status.ExitStatus(), true
		}
	}
}
