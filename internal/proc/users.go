package proc

import (
	"fmt"
	"os"
)

// traces is what a process shows of the environments that it uses.
type traces struct {
	paths   [][]byte // its executable, arguments and mapped files
	environ []byte   // at its start, with a zero byte after each variable
	cwd     string
	closed  bool // some of it may not be read
}

// search finds the environments that processes use. A process uses an environment if
//   - its executable, its command line or a mapped file is in it (a venv's Python runs the base interpreter, and maps
//     the venv's extension modules),
//   - its variables name it, as activation does,
//   - its working folder is in it,
//   - it may not be looked at, and the owner may have started it, as with sudo; see mayBeOf.
//
// Each system shows a part of this.
type search struct {
	envs string           // the folder of all environments
	held map[string]Owner // the owners, present or last, of the environments in question
}

// maxRounds bounds the rounds if processes start faster than they can be looked at.
const maxRounds = 20

// users returns one process for each environment in the folder envs that some process uses. held has the owners of
// the environments in question. The error means that no process can be seen, so none is known to be absent.
func users(envs string, held map[string]Owner) (map[string]Process, error) {
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
		more = false // unless one ended before its turn, and left a child that came after
		err := procs(func(pid int) {
			if !looked[pid] {
				look(pid)
				more = true
			}
		})
		if err != nil {
			return nil, fmt.Errorf("the processes cannot be seen: %w", err)
		}
	}
	for id, o := range held {
		if _, ok := found[id]; !ok && o.Namespace == Namespace() && hiddenBeside(o) {
			found[id] = Process{}
		}
	}
	return found, nil
}

// uses returns the ids of the environments that a process uses.
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

// mayBeOf reports whether the owner o may have started a process, or an ancestor of it. Such a process is younger
// than o and near it, or in a PID namespace below this one if o was in another. What a script or shell near o started
// by itself does not count: root's script, say, that ran a user's command and goes on.
func (p stat) mayBeOf(o Owner) bool {
	switch {
	case o.PID == 0:
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
	return p.PID == o.PID || !p.isNear(o) // init, which adopts what o left, is not near
}

// isOlder reports whether a process began before o. Start times are coarse, but pids ascend.
func (p stat) isOlder(o Owner) bool {
	return p.start < o.StartTime || p.start == o.StartTime && p.PID < o.PID
}

// isNear reports whether a process is in o's process group, in a session that o leads, or on o's terminal.
func (p stat) isNear(o Owner) bool {
	return o.Group != 0 && o.Group == p.group || o.PID == p.session || o.Terminal != 0 && o.Terminal == p.terminal
}
