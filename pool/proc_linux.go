package pool

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// bootID names this boot of the machine.
var bootID = sync.OnceValue(func() string { return readID("/proc/sys/kernel/random/boot_id") })

// machineID names this machine: a home folder may be shared by several, whose processes cannot be seen from here.
var machineID = sync.OnceValue(func() string { return readID("/etc/machine-id") })

func readID(path string) string {
	data, err := readFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// startTime is when the process began, in clock ticks since boot (proc(5), stat, field 22). ok is false where it has ended,
// also where only its parent has not asked for it yet.
func startTime(pid int) (ticks uint64, ok bool) {
	data, err := readFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	// the second field is the name, in parentheses, and may hold spaces and parentheses itself
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return 0, false
	}
	ticks, err = strconv.ParseUint(fields[19], 10, 64)
	return ticks, err == nil
}

// userOf is the user that a process runs as (proc(5), status: the real one).
func userOf(pid int) (uid int, ok bool) {
	data, err := readFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, false
	}
	_, rest, _ := bytes.Cut(data, []byte("\nUid:"))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0, false
	}
	uid, err = strconv.Atoi(string(fields[0]))
	return uid, err == nil
}

// onExit calls f once the process has ended, if the system can tell without being asked again; the returned function ends the
// watch. The caller looks again now and then all the same.
func onExit(pid int, f func()) (stop func()) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		go f()
		return func() {}
	}
	if err != nil {
		return func() {} // too many descriptors, or an old kernel: the regular look finds it
	}
	file := os.NewFile(uintptr(fd), "pidfd") // in the runtime's poller, so that a watch costs no thread
	conn, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return func() {}
	}
	go func() {
		ended := false
		_ = conn.Read(func(fd uintptr) bool {
			p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, err := unix.Poll(p, 0)
			ended = err == nil && n == 1
			return ended
		})
		if ended {
			f()
		}
		_ = file.Close()
	}()
	return func() { _ = file.Close() }
}

// procs calls f with each process of this machine.
func procs(f func(pid int)) {
	var entries []os.DirEntry
	err := patiently(func() (err error) { entries, err = os.ReadDir("/proc"); return err })
	if err != nil {
		return
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			f(pid)
		}
	}
}

// markOf is the value of MarkEnv in the environment that a process was started with, or "".
func markOf(pid int) string {
	data, err := readFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return ""
	}
	for v := range bytes.SplitSeq(data, []byte{0}) {
		if value, ok := bytes.CutPrefix(v, []byte(MarkEnv+"=")); ok {
			return string(value)
		}
	}
	return ""
}

// runsFrom calls f with the ids of the environments from which the process uses a file: as its executable, in its command line, or
// mapped. envs ends in a slash. (The executable of a venv's Python is the base interpreter; its extension modules are what is mapped.)
func runsFrom(pid int, envs string, f func(id string)) {
	proc := "/proc/" + strconv.Itoa(pid)
	if exe, err := os.Readlink(proc + "/exe"); err == nil && strings.HasPrefix(exe, envs) {
		idsIn([]byte(exe), []byte(envs), f)
	}
	for _, name := range []string{"/cmdline", "/maps"} {
		if data, err := readFile(proc + name); err == nil {
			idsIn(data, []byte(envs), f)
		}
	}
}
