package doctor

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"runtimed/config"
	"runtimed/internal/proc"
	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
	"runtimed/pool/envdir"
)

// Where there is room for fewer files a build fails, or soon will: an environment has a few thousand.
const (
	fewInodes = 1000
	lowInodes = 20000
)

func checkSpace(_ context.Context, e *Env) Findings {
	dir := Standing(e.at.State)
	free, err := envdir.FreeSpace(dir)
	switch least := e.cfg.Build.MinFree; {
	case err != nil:
		return problem("the free room under %s is not known: %v", dir, err)
	case free < least:
		return problem("%s free under %s, less than the %s that build.min_free asks for", safefile.Size(free), dir,
			safefile.Size(least)).
			hint("free some room: runt env gc, uv cache prune; or lower build.min_free in the configuration")
	}
	return fine("%s free under %s", safefile.Size(free), dir)
}

// mount is the file system of the state directory, or of where that will be; unknown says why it is not known.
func mount(e *Env) (m statedir.Mount, unknown Findings) {
	dir := Standing(e.at.State)
	m, err := statedir.MountOf(dir)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		unknown = fine("not looked at on this system")
	case err != nil:
		unknown = warning("the file system of %s cannot be asked: %v", dir, err)
	}
	return m, unknown
}

func checkInodes(_ context.Context, e *Env) Findings {
	m, unknown := mount(e)
	const hint = "delete files there: runt env gc, uv cache prune"
	switch {
	case unknown != nil:
		return unknown
	case m.Inodes <= 0:
		return fine("the file system has no bound")
	case m.Free < fewInodes:
		return problem("there is room for %d more files under %s, and one environment has thousands", m.Free,
			e.at.State).hint(hint)
	case m.Free < lowInodes:
		return warning("there is room for %d more files under %s, and one environment has thousands", m.Free,
			e.at.State).hint(hint)
	}
	return fine("room for %d more files", m.Free)
}

func checkFileSystem(_ context.Context, e *Env) Findings {
	m, unknown := mount(e)
	const hint = "set RUNTIMED_SOCKET and cache_dir to folders of mode 0700 on a local disk"
	switch {
	case unknown != nil:
		return unknown
	case m.ReadOnly:
		return problem("%s is on a file system that is read-only", e.at.State).hint("mount it for writing; or " + hint)
	case m.NoLinks:
		return problem("%s is on a file system (%s) without links, which environments need", e.at.State,
			m.Type).hint(hint)
	case m.Network:
		return warning("%s is on a network file system (%s): locks may be missing there, and builds are slow",
			e.at.State, m.Type).hint(hint)
	case m.Type == "":
		return fine("its type is not known")
	}
	return fine("%s", m.Type)
}

func checkNoExec(_ context.Context, e *Env) Findings {
	m, unknown := mount(e)
	switch {
	case unknown != nil:
		return unknown
	case m.NoExec:
		return problem("%s is on a file system that is mounted noexec: no Python can run there", e.at.State).
			hint("set cache_dir in the configuration to a folder on another one")
	}
	return fine("programs can run from the state directory")
}

func checkLinks(_ context.Context, e *Env) Findings {
	if len(e.poolsOn(config.KindUV)) == 0 {
		return fine("not needed: no uv pool is on")
	}
	if e.cfg.UV.Link == "copy" {
		return fine("not needed: uv.link is copy")
	}
	cache, ok := Linkable(e.environ, e.at.State)
	if !ok {
		return warning("files cannot be shared between uv's cache (%s) and the environments (%s): "+
			"another file system, or it cannot be written",
			cache, e.at.State).
			hint("builds use a cache of their own, and download what the usual one has; " +
				"or have cache_dir name a folder on its file system")
	}
	return fine("uv's cache (%s) and the environments are on one file system", cache)
}

func checkUnmanaged(_ context.Context, e *Env) Findings {
	unmanaged := Unmanaged(e.at.State)
	envs := e.at.Envs()
	if mounts := statedir.Mounts(filepath.Join(envs, ".trash")); len(mounts) > 0 {
		return warning("mounted in what is to be deleted, and left alone: %s",
			some(mounts)).hint("unmount it; the rest is then deleted by itself")
	}
	if len(unmanaged) == 0 {
		return fine("none")
	}
	return warning("in %s no daemon made: %s", envs,
		some(unmanaged)).hint("they are left alone; look at them, and delete what you do not need")
}

func checkLeftovers(_ context.Context, e *Env) Findings {
	pids := Leftovers(e.at.State)
	switch {
	case len(pids) == 0:
		return fine("none")
	case e.lock().held:
		return fine("builds of the daemon run; their processes: %d", len(pids))
	}
	texts := make([]string, len(pids))
	for i, pid := range pids {
		texts[i] = fmt.Sprint(pid)
	}
	return warning("processes of builds go on, and their daemon is gone: pid %s", some(texts)).
		hint("nothing to do: the next start ends them; or: runt doctor --fix").
		fixedLockedBy(func() (string, error) {
			return fmt.Sprintf("ended processes: %d", EndLeftovers(e.at.State)), nil
		})
}

func checkProcesses(_ context.Context, e *Env) Findings {
	why := proc.Blind()
	switch {
	case why != "":
		return problem("%s, so nothing can be leased, and no environment that was used is removed",
			why).hint(proc.BlindHint)
	case e.peer.otherNamespace:
		return warning("the daemon runs in another PID namespace, so nothing can be leased from here").
			hint("run a daemon here too, with a state directory and a socket (RUNTIMED_SOCKET) of its own")
	case proc.Hides():
		return warning("/proc hides the processes of others (hidepid), " +
			"and one of theirs that runs from an environment is not always seen").
			hint("nothing to do, unless others run programs from your environments: then mount /proc with hidepid=0")
	}
	return fine("they can be seen")
}

const (
	firstYear = 2024      // before it there was none of this
	clockSlop = time.Hour // between machines that share a folder
)

func checkClock(_ context.Context, e *Env) Findings {
	now := time.Now()
	const hint = "set the clock: ages of environments and certificates depend on it"
	id, newest := Newest(e.at.State)
	switch {
	case now.Year() < firstYear:
		return problem("the clock says %s", now.Format(time.DateTime)).hint(hint)
	case newest.After(now.Add(clockSlop)):
		return warning("the clock says %s, and the environment %s was made %s",
			now.Format(time.DateTime), id, newest.Local().Format(time.DateTime)).hint(hint)
	}
	return fine("%s", now.Format("2006-01-02 15:04 MST"))
}
