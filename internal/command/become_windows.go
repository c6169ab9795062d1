package command

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/windows"

	"runtimed/internal/tool"
)

// Become runs the command to its end and ends as it did, since a process cannot become another one here. The lease is
// ours, and so it ends with us. So does the command: whoever ends us means that one. Ctrl-C reaches every process of
// the console, and what it means is the command's business.
func Become(program string, argv, environ []string, stdin *os.File) error {
	signal.Notify(make(chan os.Signal, 1), os.Interrupt) // what is ignored ends us nevertheless here
	cmd := exec.Command(program, argv[1:]...)
	cmd.Env = environ
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if stdin != nil {
		cmd.Stdin = stdin
	}
	handOn(cmd, environ)
	err := tool.StartBound(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if stdin != nil {
		_ = stdin.Close()
		_ = os.Remove(stdin.Name())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	os.Exit(cmd.ProcessState.ExitCode())
	return nil
}

// LookUp finds a command as a shell does, which knows the endings of programs (PATHEXT). What is in the working folder
// does not count, as it does not for PowerShell: a notebook may have brought it. Go would refuse to run anything then.
func LookUp(name, path string) (string, error) {
	if name == "" {
		return "", fs.ErrNotExist
	}
	if err := os.Setenv("PATH", path); err != nil {
		return "", err
	}
	const alone = "NoDefaultCurrentDirectoryInExePath"
	if _, set := os.LookupEnv(alone); !set {
		if err := os.Setenv(alone, "1"); err != nil {
			return "", err
		}
		defer func() { _ = os.Unsetenv(alone) }()
	}
	found, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrNotFound) {
		err = fs.ErrNotExist
	}
	return found, err
}

// handOn has a kernel inherit what its front-end has put into our hands: the handle of the front-end, and the event
// that interrupts.
func handOn(cmd *exec.Cmd, environ []string) {
	for _, name := range []string{"JPY_PARENT_PID", "JPY_INTERRUPT_EVENT"} {
		n, err := strconv.ParseUint(tool.Lookup(environ, name), 10, 64)
		if err != nil || windows.SetHandleInformation(windows.Handle(n), windows.HANDLE_FLAG_INHERIT,
			windows.HANDLE_FLAG_INHERIT) != nil {
			continue // it is not a handle of ours, and one bad handle would keep the command from starting
		}
		if cmd.SysProcAttr == nil {
			cmd.SysProcAttr = &syscall.SysProcAttr{}
		}
		cmd.SysProcAttr.AdditionalInheritedHandles = append(cmd.SysProcAttr.AdditionalInheritedHandles,
			syscall.Handle(n))
	}
}
