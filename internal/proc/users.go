package proc

import "os"

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
