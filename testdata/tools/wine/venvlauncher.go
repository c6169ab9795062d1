//go:build ignore

// A stand-in for CPython's venvlauncher.exe: runs the Python that pyvenv.cfg names, as that of this venv. As the real
// one it hands on every handle that it may, and that Python ends with it.
package main

import (
	"bufio"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
)

func main() {
	self, _ := os.Executable()
	f, err := os.Open(filepath.Join(filepath.Dir(filepath.Dir(self)), "pyvenv.cfg"))
	if err != nil {
		println("no pyvenv.cfg")
		os.Exit(103)
	}
	home := ""
	for s := bufio.NewScanner(f); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), "="); ok && strings.TrimSpace(k) == "home" {
			home = strings.TrimSpace(v)
		}
	}
	f.Close()
	signal.Notify(make(chan os.Signal, 1), os.Interrupt) // it is Python's business
	os.Setenv("__PYVENV_LAUNCHER__", self)
	code, err := run(append([]string{filepath.Join(home, filepath.Base(self))}, os.Args[1:]...))
	if err != nil {
		println(err.Error())
		os.Exit(104)
	}
	os.Exit(int(code))
}

func run(argv []string) (code uint32, err error) {
	line, err := windows.UTF16PtrFromString(windows.ComposeCommandLine(argv))
	if err != nil {
		return 0, err
	}
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return 0, err
	}
	var limits windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	limits.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE |
		windows.JOB_OBJECT_LIMIT_SILENT_BREAKAWAY_OK
	if _, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits))); err != nil {
		return 0, err
	}
	start := windows.StartupInfo{Flags: windows.STARTF_USESTDHANDLES, StdInput: windows.Stdin,
		StdOutput: windows.Stdout, StdErr: windows.Stderr}
	start.Cb = uint32(unsafe.Sizeof(start))
	var child windows.ProcessInformation
	if err = windows.CreateProcess(nil, line, nil, nil, true, windows.CREATE_SUSPENDED, nil, nil, &start,
		&child); err != nil {
		return 0, err
	}
	if err = windows.AssignProcessToJobObject(job, child.Process); err != nil {
		return 0, err
	}
	if _, err = windows.ResumeThread(child.Thread); err != nil {
		return 0, err
	}
	if _, err = windows.WaitForSingleObject(child.Process, windows.INFINITE); err != nil {
		return 0, err
	}
	return code, windows.GetExitCodeProcess(child.Process, &code)
}
