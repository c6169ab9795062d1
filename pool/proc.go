package pool

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"runtimed/internal/safefile"
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
		if !isShort(err) {
			return err
		}
		time.Sleep(shortPause)
	}
}

func readFile(path string) (data []byte, err error) {
	err = patiently(func() error { data, err = os.ReadFile(path); return err })
	return data, err
}

// readOwn reads a file of ours.
func readOwn(path string, limit int64) (data []byte, err error) {
	err = patiently(func() error { data, err = safefile.ReadOwn(path, limit); return err })
	return data, err
}

// readInside reads a file of an environment, which is whatever its packages and its user made it.
func readInside(path string) (data []byte, err error) {
	err = patiently(func() error { data, err = safefile.Read(path, maxInside); return err })
	return data, err
}

const maxInside = 64 << 20 // bytes; the longest list of a package's files has some five million

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
	if !isOurs(pid) {
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

// below says whether path is a direct child of dir.
func below(dir, path string) bool {
	rest, ok := strings.CutPrefix(path, dir+string(filepath.Separator))
	return ok && rest != "" && !strings.ContainsRune(rest, filepath.Separator)
}
