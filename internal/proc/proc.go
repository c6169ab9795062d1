package proc

import (
	"errors"
	"path/filepath"
	"strings"
)

// Process identifies a process. The zero value is none.
type Process struct {
	PID   int
	start uint64
}

// Sight is what can be known of a process.
type Sight int

const (
	Gone   Sight = iota // it has ended
	Living              // it runs
	Unseen              // it may run; it must not be taken for gone
)

// errEnded means that the process has ended, and somebody has not waited for it or has a handle to it.
var errEnded = errors.New("it has ended")

// Processes is what the pool asks about processes. Tests replace it.
type Processes struct {
	Named  func(pid int) (Owner, error)
	Look   func(Owner) (s Sight, where string)
	Alive  func(Process) bool // false: it has certainly ended
	Users  func(envs string, held map[string]Owner) (map[string]Process, error)
	OnExit func(pid int, f func()) (stop func())
}

var ThisMachine = Processes{Named, Owner.Look, func(p Process) bool { return lookAt(p) != Gone }, users, onExit}

// stat is what the system tells everybody about a process.
type stat struct {
	Process
	parent         int  // who started it, or adopted it since
	group, session int  // 0 if the system has none
	terminal       int  // the session, if that has a terminal
	kernel         bool // a thread of the kernel
}

// Below reports whether path is a direct child of dir.
func Below(dir, path string) bool {
	rest, ok := strings.CutPrefix(path, dir+string(filepath.Separator))
	return ok && rest != "" && !strings.ContainsRune(rest, filepath.Separator)
}

// MarkEnv is set in the environment of every process of a build, to the path of what it builds. After a crash the
// next daemon ends exactly the processes that have it.
const MarkEnv = "RUNT_BUILD_OF"
