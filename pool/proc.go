package pool

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// proc is one process; the zero value is none.
type proc struct {
	pid   int
	start uint64
}

func (p proc) alive() bool {
	if p.pid == 0 {
		return false
	}
	start, ok := startTime(p.pid)
	return ok && start == p.start
}

// shortPause is how long to wait where descriptors or memory are short.
const shortPause = 50 * time.Millisecond

// patiently does f again while it fails for want of descriptors or memory: what cannot be looked at must not pass for gone or damaged.
func patiently(f func() error) error {
	for {
		err := f()
		if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) && !errors.Is(err, syscall.ENOMEM) {
			return err
		}
		time.Sleep(shortPause)
	}
}

func readFile(path string) (data []byte, err error) {
	err = patiently(func() error { data, err = os.ReadFile(path); return err })
	return data, err
}

// OwnerOf is the living process pid as the owner of a lease; ok is false where there is none.
func OwnerOf(pid int) (Owner, bool) {
	start, ok := startTime(pid)
	return Owner{PID: pid, StartTime: start, BootID: bootID(), MachineID: machineID()}, ok
}

// Named is the process pid, of the daemon's own user, as the owner of a lease that somebody else asks for. The error is *OwnerError.
func Named(pid int) (Owner, error) {
	owner, ok := OwnerOf(pid)
	if !ok {
		return owner, &OwnerError{PID: pid}
	}
	if uid, ok := userOf(pid); !ok || uid != os.Getuid() {
		return owner, &OwnerError{PID: pid, Foreign: true}
	}
	return owner, nil
}

// Alive says whether the owner still runs. What another machine's daemon wrote into a shared folder counts as alive: its
// processes cannot be seen from here.
func (o Owner) Alive() bool {
	if o.MachineID != machineID() {
		return true
	}
	return o.BootID == bootID() && proc{o.PID, o.StartTime}.alive()
}

// processes is what the pool asks about the processes of a machine.
type processes struct {
	named  func(pid int) (Owner, error)
	alive  func(Owner) bool
	users  func(envs string) map[string]proc
	onExit func(pid int, f func()) (stop func())
}

var thisMachine = processes{Named, Owner.Alive, users, onExit}

// users finds, for each environment in the folder envs that a process runs from, one such process. The keys are ids.
func users(envs string) map[string]proc {
	found := map[string]proc{}
	procs(func(pid int) {
		var ids []string
		runsFrom(pid, envs+string(filepath.Separator), func(id string) { ids = append(ids, id) })
		if len(ids) == 0 {
			return
		}
		if start, ok := startTime(pid); ok {
			for _, id := range ids {
				found[id] = proc{pid, start}
			}
		}
	})
	return found
}

// idsIn calls f with the name that follows each below in data and is itself followed by more of a path.
func idsIn(data, below []byte, f func(id string)) {
	for {
		i := bytes.Index(data, below)
		if i < 0 {
			return
		}
		data = data[i+len(below):]
		if end := bytes.IndexAny(data, "/\x00\n"); end > 0 && data[end] == '/' {
			f(string(data[:end]))
		}
	}
}

// endMarked kills the processes whose mark is accepted, and what they start meanwhile, and returns how many there were. They are
// found by what they carry in their environment, so no stranger that got an old pid is ever hit.
func endMarked(ours func(dir string) bool) int {
	ended := map[proc]bool{}
	for range 10 { // a tenth round finds nothing but what multiplies faster than it can be killed
		before := len(ended)
		procs(func(pid int) {
			dir := markOf(pid)
			if dir == "" || !ours(dir) || pid == os.Getpid() {
				return
			}
			if start, ok := startTime(pid); ok && syscall.Kill(pid, syscall.SIGKILL) == nil {
				ended[proc{pid, start}] = true
			}
		})
		if len(ended) == before {
			break
		}
	}
	return len(ended)
}

// below says whether path is a direct child of dir.
func below(dir, path string) bool {
	rest, ok := strings.CutPrefix(path, dir+string(filepath.Separator))
	return ok && rest != "" && !strings.ContainsRune(rest, filepath.Separator)
}
