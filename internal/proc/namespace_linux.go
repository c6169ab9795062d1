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

// A pid is a number of one PID namespace. /proc has those of the namespace that it was mounted for, which may be another than ours,
// and may be missing, or hide the processes of others (hidepid).

// The numbers of the namespaces that the machine boots with; see linux/proc_ns.h.
const (
	FirstPIDNamespace  = "4026531836"
	firstTimeNamespace = "4026531834"
)

// Namespace names the PID namespace of this process, and its time namespace where that is not the first, since start times differ
// there; empty where it cannot be told. The number of a namespace is given to another only when no process is left in it.
func Namespace() string {
	name := namespaceLink("pid")
	if t := namespaceLink("time"); name != "" && t != "" && t != firstTimeNamespace {
		name += "+" + t
	}
	return name
}

// namespaceLink is the number in a link such as pid:[4026531836].
func namespaceLink(kind string) string {
	link, err := os.Readlink("/proc/self/ns/" + kind)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(link, kind+":["), "]")
}

const blindHint = "mount it for this PID namespace: mount -t proc proc /proc; then runt daemon restart"

var wholeProc atomic.Value // the fs.FileInfo of the /proc in which all that blind looks at was seen last

// blind says why the processes of our own PID namespace cannot be seen; empty: they can. It is asked several times for each lease, so
// of the same /proc it looks at one link only.
func blind() string {
	self, err := os.Readlink("/proc/self")
	proc, perr := os.Stat("/proc")
	if before, ok := wholeProc.Load().(fs.FileInfo); ok && self == strconv.Itoa(os.Getpid()) && perr == nil && os.SameFile(before, proc) {
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

// numbersOf are the numbers of a process, first that in the namespace of /proc, last that in its own; kernels before 4.1
// do not tell.
func numbersOf(process string) []string { return statusOf(process, "NSpid") }

// SameNumbers says whether the process pid has the same numbers for processes as this one, and not those of a PID
// namespace of its own.
func SameNumbers(pid int) bool {
	if blind() != "" {
		return false
	}
	numbers := numbersOf(strconv.Itoa(pid))
	if len(numbers) == 0 {
		// where it has ended, whoever it left its connection to is taken for its like
		return errors.Is(unix.Kill(pid, 0), unix.ESRCH)
	}
	return len(numbers) == 1
}

// nested says whether a process is in a PID namespace below ours.
func nested(pid int) bool { return len(numbersOf(strconv.Itoa(pid))) > 1 }

// find is what can be known of an owner of this machine and boot.
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
	case o.Namespace == "" && blind() == "" && lookAt(p) == Living: // noted by an earlier version
		return Living, ""
	case here == FirstPIDNamespace && !strings.Contains(o.Namespace, "+") && blind() == "" && !Hides():
		return findBelow(o), "" // from the first namespace all the others are seen
	case o.Namespace == "":
		return Unseen, "that may be in another PID namespace"
	}
	return Unseen, "in another PID namespace"
}

// findOfOtherBoot is what can be known of an owner of this machine whose boot has another name. That boot has ended, unless one of
// both names is that of a container, as systemd-nspawn and LXC give them: then the host may be the same, and run on.
func findOfOtherBoot(o Owner) (s Sight, where string) {
	ns, _, _ := strings.Cut(o.Namespace, "+")
	first := ns == FirstPIDNamespace
	switch {
	case ns == "":
	case first && hasOwnBoot():
		return Unseen, "on the host of this container, or of a boot before"
	case !first && Namespace() == FirstPIDNamespace && blind() == "" && !Hides():
		return findBelow(o), ""
	}
	return Gone, ""
}

// hasOwnBoot says whether this container has a name of its own for the boot: a file that is mounted where the kernel has its.
var hasOwnBoot = sync.OnceValue(func() bool {
	var id, folder unix.Stat_t
	err := errors.Join(unix.Stat(bootIDFile, &id), unix.Stat(filepath.Dir(bootIDFile), &folder))
	return err == nil && id.Dev != folder.Dev
})

var foundBelow sync.Map // which process an Owner was when it was last found below, as a proc of our own numbers

// findBelow looks for an owner among all processes of the machine, which have their numbers of their own namespaces too.
func findBelow(o Owner) Sight {
	if p, ok := foundBelow.Load(o); ok && lookAt(p.(Process)) == Living {
		return Living // without a look at all of them, for each such owner again and again
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

// Hides says whether /proc keeps processes of others from us, by the options that it is mounted with.
func Hides() bool {
	var lines []statedir.MountLine
	err := safefile.Patiently(func() (err error) { lines, err = statedir.MountLines(); return err })
	if err != nil {
		return true
	}
	hidden := false
	for _, l := range lines {
		if l.At != "/proc" || l.Type != "proc" {
			continue
		}
		hidden = false // the last one mounted there counts
		for option := range strings.SplitSeq(l.Options, ",") {
			if value, ok := strings.CutPrefix(option, "hidepid="); ok {
				hidden = value != "0" && value != "off"
			}
		}
	}
	return hidden && !seesAll()
}

// seesAll says whether we are exempt from hidepid: by our rights, or by our group. The first process is another user's.
func seesAll() bool {
	_, _, err := readStat("/proc/1/stat")
	if uid, ok := userOf(1); err == nil && ok && uid != os.Getuid() {
		return true
	}
	return err == nil && os.Geteuid() == 0
}

// hiddenBeside says whether somebody who is hidden from us is of an owner's process group, and younger. The kernel tells the group of
// any number that is asked for; numbers are given in order, and begin again behind the last.
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
		if _, err := os.Lstat("/proc/" + strconv.Itoa(pid)); errors.Is(err, os.ErrNotExist) && !errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			return true // else it can be seen: it, or the process that this thread is of
		}
	}
	return false
}

// lastNumber is the number that was given to a process last, and the highest that one may get.
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

// HoldsLock says whether the process pid holds a lock on the file at path (proc(5), locks).
func HoldsLock(pid int, path string) bool {
	if _, err := statOf(pid); err != nil || blind() != "" {
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
