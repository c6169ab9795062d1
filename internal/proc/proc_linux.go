package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"runtimed/internal/safefile"
)

const bootIDFile = "/proc/sys/kernel/random/boot_id"

// BootID names this boot of the machine.
var BootID = sync.OnceValue(func() string { return readID(bootIDFile) })

// MachineID names this machine: several may share a home folder, and do not see each other's processes.
var MachineID = sync.OnceValue(func() string { return readID("/etc/machine-id") })

func readID(path string) string {
	data, err := readFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

func readFile(path string) ([]byte, error) {
	return safefile.Patiently(func() ([]byte, error) { return os.ReadFile(path) })
}

// statOf reads /proc. The error is errEnded for a zombie, fs.ErrNotExist or ESRCH for a process that is absent or
// hidden, and any other if it cannot be looked at.
func statOf(pid int) (stat, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	p, state, err := readStat(dir + "/stat")
	if err == nil && (state == 'Z' || state == 'X') && livingTask(dir) == "" {
		err = errEnded
	}
	return p, err
}

const kernelThread = 0x00200000 // PF_KTHREAD of linux/sched.h

// readStat parses a stat file (proc(5)).
func readStat(path string) (p stat, state byte, err error) {
	number, fields, err := statFields(path)
	if err != nil {
		return p, 0, err
	}
	read := func(text string) int64 {
		n, rerr := strconv.ParseInt(text, 10, 64)
		err = errors.Join(err, rerr)
		return n
	}
	p = stat{
		Process: Process{int(read(number)), uint64(read(fields[19]))}, parent: int(read(fields[1])),
		group: int(read(fields[2])), session: int(read(fields[3])), kernel: read(fields[6])&kernelThread != 0,
	}
	if fields[4] != "0" {
		p.terminal = p.session
	}
	return p, fields[0][0], err
}

// statFields returns the first field of a stat file and those from the third on.
func statFields(path string) (number string, fields []string, err error) {
	data, err := readFile(path)
	if err != nil {
		return "", nil, err
	}
	number, _, _ = strings.Cut(string(data), " ")
	// The second field, the name in parentheses, may contain spaces and parentheses.
	fields = strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 20 {
		return "", nil, fmt.Errorf("%s has %d fields", path, len(fields))
	}
	return number, fields, nil
}

// memoryOf tells where a process has its stack, arguments and variables, which another program has elsewhere. whole
// is false in the middle of an exec, and on kernels that do not tell.
func memoryOf(dir string) (places string, whole bool) {
	const stack, arguments, end = 28 - 3, 48 - 3, 51 - 3 // proc(5) counts from 1; fields starts at the third
	_, fields, err := statFields(dir + "/stat")
	if err != nil || len(fields) <= end {
		return "", false
	}
	places = fields[stack] + " " + strings.Join(fields[arguments:end+1], " ")
	return places, !slices.Contains(fields[arguments:end+1], "0")
}

// tellsMemory is false for kernels before 3.5, and for systems that only behave like Linux.
var tellsMemory = sync.OnceValue(func() bool { _, whole := memoryOf("/proc/self"); return whole })

func readDir(path string) ([]os.DirEntry, error) {
	return safefile.Patiently(func() ([]os.DirEntry, error) { return os.ReadDir(path) })
}

// livingTask returns the folder of a running thread if the first thread has ended, else "".
func livingTask(dir string) string {
	tasks, err := readDir(dir + "/task")
	if err != nil {
		return ""
	}
	for _, t := range tasks {
		task := dir + "/task/" + t.Name()
		if _, state, err := readStat(task + "/stat"); err == nil && state != 'Z' && state != 'X' {
			return task
		}
	}
	return ""
}

// processOf returns the process that a number belongs to. It may be a thread's: /proc/N shows those too.
func processOf(pid int) int {
	if fields := statusOf(strconv.Itoa(pid), "Tgid"); len(fields) == 1 {
		if whole, err := strconv.Atoi(fields[0]); err == nil {
			return whole
		}
	}
	return pid
}

// userOf returns the real user of a process.
func userOf(pid int) (uid int, ok bool) {
	fields := statusOf(strconv.Itoa(pid), "Uid")
	if len(fields) == 0 {
		return 0, false
	}
	uid, err := strconv.Atoi(fields[0])
	return uid, err == nil
}

// statusOf returns the words of one line of a status file (proc(5)).
func statusOf(process, name string) []string {
	data, err := readFile("/proc/" + process + "/status")
	if err != nil {
		return nil
	}
	_, rest, _ := bytes.Cut(data, []byte("\n"+name+":"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	return strings.Fields(string(line))
}

// onExit calls f once the process has ended, unless stop is called first. It does nothing if the system cannot tell;
// the reaper looks regularly all the same.
func onExit(pid int, f func()) (stop func()) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		go f()
		return func() {}
	}
	if err != nil {
		return func() {} // too many descriptors, or an old kernel
	}
	file := os.NewFile(uintptr(fd), "pidfd") // in the runtime's poller, so a watch takes no thread
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

// procs calls f with each process that can be seen, by its pid in our namespace.
func procs(f func(pid int)) error {
	if why := Blind(); why != "" {
		return errors.New(why)
	}
	entries, err := readDir("/proc")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			f(pid)
		}
	}
	return nil
}

// environOf returns the variables that a process was started with, if they may be read.
func environOf(pid int) []byte {
	data, _ := readFile(fmt.Sprintf("/proc/%d/environ", pid))
	return data
}

// execTime is longer than an exec takes, during which a process shows neither arguments nor variables.
const execTime = 50 * time.Millisecond

// tracesOf reads what a process shows, again if it became another program meanwhile. Much of it only its own user may
// read.
func tracesOf(p stat) traces {
	for end := time.Now().Add(execTime); ; time.Sleep(time.Millisecond) {
		t, same := readTraces(p)
		if same {
			return t
		}
		_, err := statOf(p.PID)
		if t.closed = err == nil; !t.closed || time.Now().After(end) {
			return t
		}
	}
}

// readTraces reads them once. same reports that they are of one program, or may not be read.
func readTraces(p stat) (t traces, same bool) {
	dir := "/proc/" + strconv.Itoa(p.PID)
	if _, err := os.Readlink(dir + "/exe"); errors.Is(err, fs.ErrNotExist) {
		if task := livingTask(dir); task != "" { // the first thread has ended, others still show
			dir = task
		}
	}
	before, whole := memoryOf(dir)
	look := func(err error) bool {
		t.closed = t.closed || errors.Is(err, fs.ErrPermission)
		return err == nil
	}
	if exe, err := os.Readlink(dir + "/exe"); look(err) {
		t.paths = append(t.paths, []byte(exe))
	}
	args, err := readFile(dir + "/cmdline")
	if look(err) {
		t.paths = append(t.paths, args)
	}
	if data, err := readFile(dir + "/maps"); look(err) {
		t.paths = append(t.paths, data)
	}
	if data, err := readFile(dir + "/environ"); look(err) {
		t.environ = data
	}
	if cwd, err := os.Readlink(dir + "/cwd"); look(err) {
		t.cwd = cwd
	}
	if !tellsMemory() {
		return t, t.closed || len(t.environ)+len(args) > 0
	}
	after, _ := memoryOf(dir)
	return t, t.closed || whole && before == after
}

// sameMounts reports whether a process shares our mount namespace.
func sameMounts(pid int) bool {
	ours, err := os.Readlink("/proc/self/ns/mnt")
	its, err2 := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	return err == nil && err2 == nil && ours == its
}

// EnvironOf returns the variables that a process of ours was started with, or nil if they cannot be seen.
func EnvironOf(pid int) []string {
	if data := environOf(pid); len(data) > 0 {
		return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
	}
	return nil
}
