package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"runtimed/config"
	"runtimed/doctor"
	"runtimed/internal/proc"
	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
)

// The rooms for files below which a build fails, or soon will: an environment has a few thousand.
const (
	fewInodes = 1000
	lowInodes = 20000
)

func (x *exam) lookSpace() finding {
	dir := doctor.Standing(x.at.state)
	free, err := doctor.FreeSpace(dir)
	switch least := x.cfg.Build.MinFree; {
	case err != nil:
		return problem("the free room under %s is not known: %v", dir, err)
	case free < least:
		return problem("%s free under %s, less than the %s that build.min_free asks for", safefile.Size(free), dir, safefile.Size(least)).
			next("free some room: runt env gc, uv cache prune; or lower build.min_free in the configuration")
	}
	return fine("%s free under %s", safefile.Size(free), dir)
}

// mount is the file system of the state directory, or of where that will be. told is what there is to say where it is not known.
func (x *exam) mount() (m statedir.Mount, told *finding) {
	dir := doctor.Standing(x.at.state)
	m, err := statedir.MountOf(dir)
	if err == nil {
		return m, nil
	}
	f := warning("the file system of %s cannot be asked: %v", dir, err)
	if errors.Is(err, errors.ErrUnsupported) {
		f = fine("not looked at on this system")
	}
	return m, &f
}

func (x *exam) lookInodes() finding {
	m, told := x.mount()
	const hint = "delete files there: runt env gc, uv cache prune"
	switch {
	case told != nil:
		return *told
	case m.Inodes <= 0:
		return fine("the file system has no bound")
	case m.Free < fewInodes:
		return problem("there is room for %d more files under %s, and one environment has thousands", m.Free, x.at.state).next(hint)
	case m.Free < lowInodes:
		return warning("there is room for %d more files under %s, and one environment has thousands", m.Free, x.at.state).next(hint)
	}
	return fine("room for %d more files", m.Free)
}

func (x *exam) lookFileSystem() finding {
	m, told := x.mount()
	const hint = "set RUNTIMED_SOCKET and cache_dir to folders of mode 0700 on a local disk"
	switch {
	case told != nil:
		return *told
	case m.ReadOnly:
		return problem("%s is on a file system that is read-only", x.at.state).next("mount it for writing; or " + hint)
	case m.NoLinks:
		return problem("%s is on a file system (%s) without links, which environments need", x.at.state, m.Type).next(hint)
	case m.Network:
		return warning("%s is on a network file system (%s): locks may be missing there, and builds are slow", x.at.state, m.Type).next(hint)
	case m.Type == "":
		return fine("its type is not known")
	}
	return fine("%s", m.Type)
}

func (x *exam) lookNoExec() finding {
	m, told := x.mount()
	switch {
	case told != nil:
		return *told
	case m.NoExec:
		return problem("%s is on a file system that is mounted noexec: no Python can run there", x.at.state).
			next("set cache_dir in the configuration to a folder on another one")
	}
	return fine("programs can run from the state directory")
}

func (x *exam) lookLinks() finding {
	if len(x.poolsOn(config.KindUV)) == 0 {
		return fine("not needed: no uv pool is on")
	}
	if x.cfg.UV.Link == "copy" {
		return fine("not needed: uv.link is copy")
	}
	cache, ok := doctor.Linkable(x.environ, x.at.state)
	if !ok {
		return warning("files cannot be shared between uv's cache (%s) and the environments (%s): another file system, or it cannot be written",
			cache, x.at.state).
			next("builds use a cache of their own, and download what the usual one has; or have cache_dir name a folder on its file system")
	}
	return fine("uv's cache (%s) and the environments are on one file system", cache)
}

func (x *exam) lookStrays() finding {
	strays := doctor.Unmanaged(x.at.state)
	envs := filepath.Join(x.at.state, "envs")
	if mounts := statedir.Mounts(filepath.Join(envs, ".trash")); len(mounts) > 0 {
		return warning("mounted in what is to be deleted, and left alone: %s", some(mounts)).next("unmount it; the rest is then deleted by itself")
	}
	if len(strays) == 0 {
		return fine("none")
	}
	return warning("in %s no daemon made: %s", envs, some(strays)).next("they are left alone; look at them, and delete what you do not need")
}

func (x *exam) lookLeftovers() finding {
	pids := doctor.Leftovers(x.at.state)
	switch {
	case len(pids) == 0:
		return fine("none")
	case x.holds().held:
		return fine("builds of the daemon run; their processes: %d", len(pids))
	}
	texts := make([]string, len(pids))
	for i, pid := range pids {
		texts[i] = fmt.Sprint(pid)
	}
	return warning("processes of builds go on, and their daemon is gone: pid %s", some(texts)).
		next("nothing to do: the next start ends them; or: runt doctor --fix").
		mendedAloneBy(func() (string, error) {
			return fmt.Sprintf("ended processes: %d", doctor.EndLeftovers(x.at.state)), nil
		})
}

// some are the first of a list.
func some(list []string) string {
	const most = 5
	if len(list) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
	}
	return strings.Join(list, ", ")
}

func (x *exam) lookProcesses() finding {
	why := proc.Blind()
	switch {
	case why != "":
		return problem("%s, so nothing can be leased, and no environment that was used is removed", why).next(proc.BlindHint)
	case x.met.far:
		return warning("the daemon runs in another PID namespace, so nothing can be leased from here").
			next("run a daemon here too, with a state directory and a socket (RUNTIMED_SOCKET) of its own")
	case proc.Hides():
		return warning("/proc hides the processes of others (hidepid), and one of theirs that runs from an environment is not always seen").
			next("nothing to do, unless others run programs from your environments: then mount /proc with hidepid=0")
	}
	return fine("they can be seen")
}

const (
	firstYear = 2024      // before it there was none of this
	clockSlop = time.Hour // between machines that share a folder
)

func (x *exam) lookClock() finding {
	now := time.Now()
	const hint = "set the clock: ages of environments and certificates depend on it"
	id, newest := doctor.Newest(x.at.state)
	switch {
	case now.Year() < firstYear:
		return problem("the clock says %s", now.Format(time.DateTime)).next(hint)
	case newest.After(now.Add(clockSlop)):
		return warning("the clock says %s, and the environment %s was made %s",
			now.Format(time.DateTime), id, newest.Local().Format(time.DateTime)).next(hint)
	}
	return fine("%s", now.Format("2006-01-02 15:04 MST"))
}
