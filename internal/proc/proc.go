package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"runtimed/internal/safefile"
)

// Process is one process; the zero value is none.
type Process struct {
	PID   int
	start uint64
}

// Sight is what can be known of a process from here.
type Sight int

const (
	Gone   Sight = iota // it has ended
	Living              // it runs
	Unseen              // it may run; who cannot be seen is never taken for gone
)

// ShortPause is how long to wait where descriptors or memory are short.
const ShortPause = 50 * time.Millisecond

// Patiently does f again while it fails for want of descriptors or memory: what cannot be looked at must not pass for gone or damaged.
func Patiently(f func() error) error {
	for {
		err := f()
		if !isShort(err) {
			return err
		}
		time.Sleep(ShortPause)
	}
}

func readFile(path string) (data []byte, err error) {
	err = Patiently(func() error { data, err = os.ReadFile(path); return err })
	return data, err
}

// ReadOwn reads a file of ours.
func ReadOwn(path string, limit int64) (data []byte, err error) {
	err = Patiently(func() error { data, err = safefile.ReadOwn(path, limit); return err })
	return data, err
}

// ReadInside reads a file of an environment, which is whatever its packages and its user made it.
func ReadInside(path string) (data []byte, err error) {
	err = Patiently(func() error { data, err = safefile.Read(path, MaxInside); return err })
	return data, err
}

const MaxInside = 64 << 20 // bytes; the longest list of a package's files has some five million

// OwnerOf is the living process pid as the owner of a lease. The error is *OwnerError.
func OwnerOf(pid int) (Owner, error) {
	if why := blind(); why != "" {
		return Owner{}, &OwnerError{PID: pid, Says: "cannot be seen: " + why, Hint: blindHint}
	}
	p, err := statOf(pid)
	switch {
	case err != nil && lookAt(Process{PID: pid}) == Unseen:
		return Owner{}, &OwnerError{
			PID: pid, Says: "cannot be seen: /proc hides it", Hint: "mount /proc without hidepid, or ask as the daemon's user",
		}
	case err != nil:
		return Owner{}, &OwnerError{PID: pid}
	}
	if p.kernel {
		return Owner{}, &OwnerError{PID: pid, Says: "is a part of the kernel"}
	}
	if whole := processOf(pid); whole != pid { // the lease would end with the thread, under those that work on
		says := fmt.Sprintf("is only a thread of the process %d", whole)
		return Owner{}, &OwnerError{PID: pid, Says: says, Hint: fmt.Sprintf("name the process: %d", whole)}
	}
	return Owner{
		PID: pid, StartTime: p.start, BootID: BootID(), MachineID: MachineID(), Namespace: Namespace(), Group: p.group,
		Terminal: p.terminal,
	}, nil
}

// Named is the process pid, of the daemon's own user, as the owner of a lease that somebody else asks for. The error is *OwnerError.
func Named(pid int) (Owner, error) {
	owner, err := OwnerOf(pid)
	if err == nil && !isOurs(pid) {
		err = &OwnerError{PID: pid, Says: "is another user's"}
	}
	return owner, err
}

// Blind says why this process cannot see which processes run; empty: it can.
func Blind() string { return blind() }

// BlindHint is what to do then.
const BlindHint = blindHint

// Look is what can be known of an owner, and where it is if it cannot be seen: "in another PID namespace".
func (o Owner) Look() (s Sight, where string) {
	switch {
	case o.PID <= 0:
		return Unseen, "not known"
	case BootID() == "" || o.BootID == "":
		return Unseen, "of a boot that is not known here"
	case o.BootID == BootID(): // and so of this machine, whatever its id is by now
	case o.MachineID != MachineID():
		return Unseen, "on another machine"
	default:
		return findOfOtherBoot(o)
	}
	return find(o)
}

// Is says whether both are the same process. An earlier version did not note the namespace.
func (o Owner) Is(other Owner) bool {
	return o.PID == other.PID && o.StartTime == other.StartTime &&
		o.BootID == other.BootID && o.MachineID == other.MachineID &&
		(o.Namespace == other.Namespace || o.Namespace == "" || other.Namespace == "")
}

// Processes is what the pool asks about the processes of a machine.
type Processes struct {
	Named  func(pid int) (Owner, error)
	Look   func(Owner) (s Sight, where string)
	Alive  func(Process) bool // false: it has certainly ended
	Users  func(envs string, held map[string]Owner) (map[string]Process, error)
	OnExit func(pid int, f func()) (stop func())
}

var ThisMachine = Processes{Named, Owner.Look, func(p Process) bool { return lookAt(p) != Gone }, users, onExit}

// stat is what the system tells of each process to everybody.
type stat struct {
	Process
	parent         int  // who started it, or took it in after the end of that one
	group, session int  // 0 where the system has none
	terminal       int  // the session, where that has a terminal
	kernel         bool // it is a thread of the kernel
}

// blindError: no process can be found, so none can be known to be absent.
type blindError struct{ why string }

func (e *blindError) Error() string { return "the processes cannot be seen: " + e.why }

// traces is what a process shows of the environments that it uses.
type traces struct {
	paths   [][]byte // texts with paths: of its executable, its arguments, the files that it has mapped
	environ []byte   // that it was started with, with a zero byte after each variable
	cwd     string
	closed  bool // some of this cannot be read
}

// search finds the environments that processes use. The rule is one for all systems, and each shows of it what it can: an
// environment is used by a process
//   - whose executable, command line or mapped files lie in it (the executable of a venv's Python is the base interpreter; its
//     extension modules are what is mapped),
//   - whose variables name it, as those that activate it do,
//   - whose working folder is in it,
//   - that cannot be looked at, and may have been started by its owner, as with sudo: see mayBeOf.
type search struct {
	envs string           // the folder of all environments
	held map[string]Owner // who holds, or held last, those that are asked about
}

// maxRounds bounds the rounds where processes start faster than they can be looked at.
const maxRounds = 20

// users finds, for each environment in the folder envs that a process uses, one such process. held are the owners of those that it
// is asked about. The error is a *blindError where no process can be seen.
func users(envs string, held map[string]Owner) (map[string]Process, error) {
	if why := blind(); why != "" {
		return nil, &blindError{why}
	}
	found := map[string]Process{}
	s := search{envs, held}
	looked := map[int]bool{}
	look := func(pid int) {
		looked[pid] = true
		p, err := statOf(pid)
		if err != nil || p.kernel {
			return
		}
		t := tracesOf(p)
		if pid == os.Getpid() {
			t.environ = nil // the daemon may have been started from an environment, and needs none
		}
		for _, id := range s.uses(p, t) {
			found[id] = p.Process
		}
	}
	for more, rounds := true, 0; more && rounds < maxRounds; rounds++ {
		more = false // unless somebody ended before its turn, and left a child that came after
		err := procs(func(pid int) {
			if !looked[pid] {
				look(pid)
				more = true
			}
		})
		if err != nil {
			return nil, &blindError{err.Error()}
		}
	}
	for id, o := range held {
		if _, ok := found[id]; !ok && o.Namespace == Namespace() && hiddenBeside(o) {
			found[id] = Process{}
		}
	}
	return found, nil
}

// uses are the ids of the environments that a process uses.
func (s search) uses(p stat, t traces) (ids []string) {
	add := func(id string) { ids = append(ids, id) }
	for _, text := range t.paths {
		s.in(text, "/", p.PID, add)
	}
	s.in(t.environ, "/\x00:", p.PID, add)
	s.in([]byte(t.cwd+"/"), "/", p.PID, add)
	if t.closed {
		for id, o := range s.held {
			if p.mayBeOf(o) {
				add(id)
			}
		}
	}
	return ids
}

// mayBeOf says whether o, the owner of an environment, may have started a process, or what started that: it is younger and near, or
// in a PID namespace below this one where o was in another. What a script or a shell near o started itself is nothing of o's: root's
// script, say, that has a user's command run and goes on.
func (p stat) mayBeOf(o Owner) bool {
	switch {
	case o.PID == 0: // nobody had it
		return false
	case o.Namespace != Namespace():
		return p.start >= o.StartTime && nested(p.PID)
	case p.isOlder(o) || !p.isNear(o):
		return false
	}
	for !p.isOlder(o) && p.PID != o.PID {
		parent, err := statOf(p.parent)
		if err != nil {
			return true
		}
		p = parent
	}
	return p.PID == o.PID || !p.isNear(o) // who takes in what o left behind is far
}

// isOlder says whether a process was there before o. Start times are coarse, and a script starts a command at once; numbers are given
// in order.
func (p stat) isOlder(o Owner) bool {
	return p.start < o.StartTime || p.start == o.StartTime && p.PID < o.PID
}

// isNear says whether a process is of the group that o was of, of a session that o leads, or of o's terminal.
func (p stat) isNear(o Owner) bool {
	return o.Group != 0 && o.Group == p.group || o.PID == p.session || o.Terminal != 0 && o.Terminal == p.terminal
}

// Below says whether path is a direct child of dir.
func Below(dir, path string) bool {
	rest, ok := strings.CutPrefix(path, dir+string(filepath.Separator))
	return ok && rest != "" && !strings.ContainsRune(rest, filepath.Separator)
}

// OwnerError says why a process cannot own a lease.
type OwnerError struct {
	PID  int
	Says string // what follows its number in a sentence; empty: there is no such process
	Hint string // empty: name another
}

func (e *OwnerError) Error() string {
	if e.Says == "" {
		return fmt.Sprintf("no process has the pid %d", e.PID)
	}
	return fmt.Sprintf("the process %d %s", e.PID, e.Says)
}

// Owner is the process that a lease belongs to. A pid alone is nobody: the kernel gives it away again.
type Owner struct {
	PID       int    `json:"pid"`
	StartTime uint64 `json:"start_time"` // as the system counts it: clock ticks since boot (Linux), µs since 1970 (macOS), 100 ns since 1601 (Windows)
	BootID    string `json:"boot_id"`
	MachineID string `json:"machine_id"`

	// An earlier version did not write these.
	Namespace string `json:"pid_ns,omitempty"`  // the PID namespace that the numbers are of (Linux)
	Group     int    `json:"pgid,omitempty"`    // its process group when it became the owner; 0: the system has none
	Terminal  int    `json:"tty_sid,omitempty"` // its session, where that has a terminal, whose shell gives each job a group; 0: none
}

// Unknown says that nobody knows who it is: the lease record cannot be read. Such an owner never ends by itself.
func (o Owner) Unknown() bool { return o.PID == 0 }

// MarkEnv is set in the environment of every process of a build, to the path of what it builds. After a crash the next
// daemon ends exactly the processes that carry it.
const MarkEnv = "RUNT_BUILD_OF"
