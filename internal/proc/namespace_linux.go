package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
)

// A pid is a number in one PID namespace. /proc shows the namespace that it was mounted for. That may not be ours,
// /proc may be missing, and it may hide the processes of other users (hidepid).

// The numbers of the first namespaces of a machine; see linux/proc_ns.h.
const (
	FirstPIDNamespace  = "4026531836"
	firstTimeNamespace = "4026531834"
)

// Namespace names the PID namespace of this process. It adds the time namespace if that is not the first, since start
// times differ there. It is empty if it cannot be told. The kernel reuses the number of a namespace only when no
// process is left in it.
func Namespace() string {
	name := namespaceLink("pid")
	if t := namespaceLink("time"); name != "" && t != "" && t != firstTimeNamespace {
		name += "+" + t
	}
	return name
}

// namespaceLink returns the number in a link such as pid:[4026531836].
func namespaceLink(kind string) string {
	link, err := os.Readlink("/proc/self/ns/" + kind)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(link, kind+":["), "]")
}

// BlindHint is the next step where Blind says something.
const BlindHint = "mount it for this PID namespace: mount -t proc proc /proc; then runt daemon restart"

var wholeProc atomic.Value // the fs.FileInfo of the /proc that was last seen to be whole

// Blind says why the processes of our own PID namespace cannot be seen; empty if they can. Each lease asks several
// times, so for a /proc that was whole before it reads one link only.
func Blind() string {
	self, err := os.Readlink("/proc/self")
	proc, perr := os.Stat("/proc")
	if before, ok := wholeProc.Load().(fs.FileInfo); ok && self == strconv.Itoa(os.Getpid()) && perr == nil &&
		os.SameFile(before, proc) {
		return ""
	}
	why := whyBlind(self, err)
	if why == "" && perr == nil {
		wholeProc.Store(proc)
	}
	return why
}

func whyBlind(self string, err error) string {
	switch {
	case errors.Is(err, os.ErrNotExist) && len(procEntries()) == 0:
		return "/proc is not mounted here"
	case err != nil || self != strconv.Itoa(os.Getpid()) || len(numbersOf("self")) > 1:
		return "/proc is that of another PID namespace"
	case BootID() == "" || Namespace() == "":
		return "/proc is not whole here"
	}
	return ""
}

func procEntries() []os.DirEntry {
	entries, _ := os.ReadDir("/proc")
	return entries
}

// numbersOf returns the numbers of a process, from the namespace of /proc to its own. Kernels before 4.1 tell none.
func numbersOf(process string) []string { return statusOf(process, "NSpid") }

// SameNumbers reports whether the process pid shares our PID namespace.
func SameNumbers(pid int) bool {
	if Blind() != "" {
		return false
	}
	numbers := numbersOf(strconv.Itoa(pid))
	if len(numbers) == 0 {
		// A process that has ended may have left its connection to a child, which counts as the same.
		return errors.Is(unix.Kill(pid, 0), unix.ESRCH)
	}
	return len(numbers) == 1
}

// nested reports whether a process is in a PID namespace below ours.
func nested(pid int) bool { return len(numbersOf(strconv.Itoa(pid))) > 1 }

// find looks for an owner of this machine and boot.
func find(o Owner) (s Sight, where string) {
	here, p := Namespace(), Process{o.PID, o.StartTime}
	switch {
	case here == "":
		return Unseen, "that cannot be seen here"
	case o.Namespace == here:
		if s = lookAt(p); s == Unseen {
			where = "that /proc does not show here"
		}
		return s, where
	case o.Namespace == "" && Blind() == "" && lookAt(p) == Living: // an earlier version wrote it
		return Living, ""
	case here == FirstPIDNamespace && !strings.Contains(o.Namespace, "+") && Blind() == "" && !Hides():
		return findBelow(o), "" // the first namespace sees all others
	case o.Namespace == "":
		return Unseen, "that may be in another PID namespace"
	}
	return Unseen, "in another PID namespace"
}

// findOfOtherBoot looks for an owner of this machine whose boot has another name. Usually that boot has ended. But
// systemd-nspawn and LXC give a container a boot name of its own, while the host runs on.
func findOfOtherBoot(o Owner) (s Sight, where string) {
	ns, _, _ := strings.Cut(o.Namespace, "+")
	first := ns == FirstPIDNamespace
	switch {
	case ns == "":
	case first && hasOwnBoot():
		return Unseen, "on the host of this container, or of a boot before"
	case !first && Namespace() == FirstPIDNamespace && Blind() == "" && !Hides():
		return findBelow(o), ""
	}
	return Gone, ""
}

// hasOwnBoot reports whether this container has a boot name of its own: a file mounted over the kernel's.
var hasOwnBoot = sync.OnceValue(func() bool {
	var id, folder unix.Stat_t
	err := errors.Join(unix.Stat(bootIDFile, &id), unix.Stat(filepath.Dir(bootIDFile), &folder))
	return err == nil && id.Dev != folder.Dev
})

var foundBelow sync.Map // from Owner to the Process, in our numbers, that findBelow found last

// findBelow looks for an owner among all processes of the machine, by their numbers in their own namespaces.
func findBelow(o Owner) Sight {
	if p, ok := foundBelow.Load(o); ok && lookAt(p.(Process)) == Living {
		return Living // without reading all of /proc again
	}
	foundBelow.Delete(o)
	found := Gone
	err := procs(func(pid int) {
		p, err := statOf(pid)
		if err != nil || p.start != o.StartTime {
			return
		}
		for _, n := range numbersOf(strconv.Itoa(pid)) {
			if n == strconv.Itoa(o.PID) {
				found = Living
				foundBelow.Store(o, p.Process)
			}
		}
	})
	if err != nil {
		return Unseen
	}
	return found
}

// Hides reports whether /proc is mounted so that it hides other users' processes from us.
func Hides() bool {
	lines, err := safefile.Patiently(statedir.MountLines)
	if err != nil {
		return true
	}
	hidden := false
	for _, l := range lines {
		if l.At != "/proc" || l.Type != "proc" {
			continue
		}
		hidden = false // the last mount counts
		for option := range strings.SplitSeq(l.Options, ",") {
			if value, ok := strings.CutPrefix(option, "hidepid="); ok {
				hidden = value != "0" && value != "off"
			}
		}
	}
	return hidden && !seesAll()
}

// seesAll reports whether hidepid does not apply to us. The first process belongs to another user.
func seesAll() bool {
	_, _, err := readStat("/proc/1/stat")
	if uid, ok := userOf(1); err == nil && ok && uid != os.Getuid() {
		return true
	}
	return err == nil && os.Geteuid() == 0
}

// hiddenBeside reports whether the owner's process group has a younger member that /proc hides from us. The kernel
// tells the group of any pid. Pids ascend, and start again after the highest.
func hiddenBeside(o Owner) bool {
	if o.PID == 0 || o.Group <= 1 || !Hides() || errors.Is(unix.Kill(-o.Group, 0), unix.ESRCH) {
		return false
	}
	last, all := lastNumber()
	if last >= o.PID {
		return hiddenOf(o.Group, o.PID, last)
	}
	return hiddenOf(o.Group, o.PID, all) || hiddenOf(o.Group, 1, last)
}

func hiddenOf(group, first, last int) bool {
	for pid := first; pid <= last; pid++ {
		if g, err := unix.Getpgid(pid); err != nil || g != group {
			continue
		}
		if _, err := os.Lstat("/proc/" + strconv.Itoa(pid)); errors.Is(err, os.ErrNotExist) &&
			!errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			return true // else it can be seen, or is a thread of one that can
		}
	}
	return false
}

// lastNumber returns the pid that was given out last, and the highest possible one.
func lastNumber() (last, all int) {
	const most = 1 << 22 // PID_MAX_LIMIT
	text, err := readFile("/proc/loadavg")
	if fields := strings.Fields(string(text)); err == nil && len(fields) == 5 {
		if last, err := strconv.Atoi(fields[4]); err == nil {
			return last, most
		}
	}
	return most, most
}

// HoldsLock reports whether the process pid holds a lock on the file at path (proc(5), locks).
func HoldsLock(pid int, path string) bool {
	if _, err := statOf(pid); err != nil || Blind() != "" {
		return false
	}
	data, err := readFile("/proc/locks")
	info, err2 := os.Stat(path)
	if err != nil || err2 != nil {
		return true
	}
	inode := fmt.Sprint(info.Sys().(*syscall.Stat_t).Ino)
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line) // 1: FLOCK ADVISORY WRITE 4711 fe:00:99 0 EOF
		if len(f) > 5 && f[4] == strconv.Itoa(pid) && strings.HasSuffix(f[5], ":"+inode) {
			return true
		}
	}
	return false
}
