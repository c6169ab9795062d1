package pool

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// bootID names this boot of the machine.
var bootID = sync.OnceValue(func() string { return sysctl("kern.bootsessionuuid") })

// machineID names this machine: a home folder may be shared by several, whose processes cannot be seen from here.
var machineID = sync.OnceValue(func() string { return sysctl("kern.uuid") })

func sysctl(name string) string {
	s, err := unix.Sysctl(name)
	if err != nil {
		return ""
	}
	return s
}

const zombie = 5 // SZOMB of sys/proc.h

// startTime is when the process began, in µs since 1970. ok is false where it has ended, also where only its parent has not
// asked for it yet.
func startTime(pid int) (us uint64, ok bool) {
	p, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(p.Proc.P_pid) != pid || p.Proc.P_stat == zombie {
		return 0, false
	}
	return uint64(p.Proc.P_starttime.Sec)*1e6 + uint64(p.Proc.P_starttime.Usec), true
}

// userOf is the user that a process runs as (the real one).
func userOf(pid int) (uid int, ok bool) {
	p, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(p.Proc.P_pid) != pid {
		return 0, false
	}
	return int(p.Eproc.Pcred.P_ruid), true
}

// onExit does nothing here: the regular look at the owners finds an end within seconds.
func onExit(int, func()) (stop func()) { return func() {} }

// procs calls f with each process of this machine.
func procs(f func(pid int)) {
	list, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return
	}
	for i := range list {
		f(int(list[i].Proc.P_pid))
	}
}

// args is KERN_PROCARGS2 of a process: its executable, arguments and environment, each ended by a zero byte.
func args(pid int) []byte {
	data, err := unix.SysctlRaw("kern.procargs2", pid)
	if err != nil || len(data) < 4 {
		return nil
	}
	_ = binary.NativeEndian.Uint32(data) // argc, which is not needed to search
	return data[4:]
}

// markOf is the value of MarkEnv in the environment that a process was started with, or "".
func markOf(pid int) string {
	for v := range bytes.SplitSeq(args(pid), []byte{0}) {
		if value, ok := bytes.CutPrefix(v, []byte(MarkEnv+"=")); ok {
			return string(value)
		}
	}
	return ""
}

// runsFrom calls f with the ids of the environments that the process uses by its executable, its arguments, or as what it was
// activated with. envs ends in a slash. Mapped files of others cannot be had without cgo.
func runsFrom(pid int, envs string, f func(id string)) {
	for v := range bytes.SplitSeq(args(pid), []byte{0}) {
		for _, name := range []string{"VIRTUAL_ENV=", "CONDA_PREFIX="} {
			if dir, ok := bytes.CutPrefix(v, []byte(name)); ok {
				v = append(slices.Clone(dir), '/')
			}
		}
		idsIn(v, []byte(envs), f)
	}
}
