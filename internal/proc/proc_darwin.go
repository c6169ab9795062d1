package proc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"sync"

	"golang.org/x/sys/unix"
)

// BootID names this boot of the machine.
var BootID = sync.OnceValue(func() string { return sysctl("kern.bootsessionuuid") })

// MachineID names this machine: several may share a home folder, and do not see each other's processes.
var MachineID = sync.OnceValue(func() string { return sysctl("kern.uuid") })

func sysctl(name string) string {
	s, err := unix.Sysctl(name)
	if err != nil {
		return ""
	}
	return s
}

const (
	zombie   = 5  // SZOMB of sys/proc.h
	noDevice = -1 // NODEV of sys/param.h
)

// statOf reads what the system tells of a process. The error is errEnded for a zombie.
func statOf(pid int) (stat, error) {
	p, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	switch {
	case err != nil:
		return stat{}, err
	case int(p.Proc.P_pid) != pid:
		return stat{}, fs.ErrNotExist
	case p.Proc.P_stat == zombie:
		return stat{}, errEnded
	}
	start := uint64(p.Proc.P_starttime.Sec)*1e6 + uint64(p.Proc.P_starttime.Usec)
	session, _ := unix.Getsid(pid)
	s := stat{Process: Process{pid, start}, parent: int(p.Eproc.Ppid), group: int(p.Eproc.Pgid), session: session,
		kernel: pid == 0}
	if p.Eproc.Tdev != noDevice {
		s.terminal = session
	}
	return s, nil
}

// userOf returns the real user of a process.
func userOf(pid int) (uid int, ok bool) {
	p, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(p.Proc.P_pid) != pid {
		return 0, false
	}
	return int(p.Eproc.Pcred.P_ruid), true
}

// onExit does nothing here: the reaper's regular look finds an end within seconds.
func onExit(int, func()) (stop func()) { return func() {} }

// procs calls f with each process of this machine.
func procs(f func(pid int)) error {
	list, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return err
	}
	for i := range list {
		f(int(list[i].Proc.P_pid))
	}
	return nil
}

// argsOf reads KERN_PROCARGS2: the path of the executable, the arguments and the environment, each with a zero byte
// after every item. Processes of other users give a permission error.
func argsOf(pid int) (exe, args, environ []byte, err error) {
	data, err := unix.SysctlRaw("kern.procargs2", pid)
	if err != nil || len(data) < 4 {
		return nil, nil, nil, err
	}
	n := int(binary.NativeEndian.Uint32(data))
	exe, rest, _ := bytes.Cut(data[4:], []byte{0})
	rest = bytes.TrimLeft(rest, "\x00")
	end := 0
	for ; n > 0 && end < len(rest); n-- {
		next := bytes.IndexByte(rest[end:], 0)
		if next < 0 {
			next = len(rest) - end - 1
		}
		end += next + 1
	}
	return exe, rest[:end], rest[end:], nil
}

// environOf returns the variables that a process was started with, if they may be read.
func environOf(pid int) []byte {
	_, _, environ, _ := argsOf(pid)
	return environ
}

// tracesOf reads what a process shows. Without cgo there is no way to its mapped files and its working folder.
func tracesOf(p stat) traces {
	exe, args, environ, err := argsOf(p.PID)
	// The system says EINVAL for a process of another user.
	return traces{paths: [][]byte{exe, args}, environ: environ, closed: err != nil && !errors.Is(err, unix.ESRCH)}
}

func sameMounts(int) bool { return true }
