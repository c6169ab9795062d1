package proc

import (
	"sync"

	"golang.org/x/sys/unix"
)

// BootID names this boot of the machine.
var BootID = sync.OnceValue(func() string { return sysctl("kern.bootsessionuuid") })

// MachineID names this machine: several may share a home folder, and do not see each other's processes.
var MachineID = sync.OnceValue(func() string { return sysctl("kern.uuid") })

func sysctl(name string) string {
	s, _ := unix.Sysctl(name)
	return s
}

var system = macOS{
	info: func(pid int) (kinfo, error) {
		p, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
		if err != nil {
			return kinfo{}, err
		}
		return kinfo{int(p.Proc.P_pid), int(p.Eproc.Ppid), int(p.Eproc.Pgid), p.Proc.P_starttime.Sec,
			int64(p.Proc.P_starttime.Usec), p.Proc.P_stat, p.Eproc.Tdev, int(p.Eproc.Pcred.P_ruid)}, nil
	},
	session: unix.Getsid,
	args:    func(pid int) ([]byte, error) { return unix.SysctlRaw("kern.procargs2", pid) },
	all: func() (pids []int, err error) {
		list, err := unix.SysctlKinfoProcSlice("kern.proc.all")
		for i := range list {
			pids = append(pids, int(list[i].Proc.P_pid))
		}
		return pids, err
	},
}

func statOf(pid int) (stat, error) { return system.stat(pid) }

func userOf(pid int) (uid int, ok bool) { return system.user(pid) }

func environOf(pid int) []byte { return system.environ(pid) }

func tracesOf(p stat) traces { return system.traces(p.PID) }

func procs(f func(pid int)) error { return system.procs(f) }

// onExit does nothing here: the reaper's regular look finds an end within seconds.
func onExit(int, func()) (stop func()) { return func() {} }

func sameMounts(int) bool { return true }
