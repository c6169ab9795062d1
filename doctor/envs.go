package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"runtimed/internal/proc"
	"runtimed/internal/statedir"
	"runtimed/pool/envdir"
)

func storeAt(dir string) envdir.Store { return envdir.Store{Dir: statedir.RealPath(dir)} }

func checkUnmanaged(_ context.Context, e *Env) Findings {
	envs := e.at.Envs()
	if mounts := statedir.Mounts(filepath.Join(envs, ".trash")); len(mounts) > 0 {
		return warning("mounted in what is to be deleted, and left alone: %s", some(mounts)).
			hint("unmount it; the rest is then deleted by itself")
	}
	names, err := unmanaged(storeAt(e.at.State))
	switch {
	case err != nil:
		return skipped("not tested: %v", err).hint("see what is said of state-directory")
	case len(names) == 0:
		return fine("none")
	}
	return warning("in %s no daemon made: %s", envs, some(names)).
		hint("they are left alone; look at them, and delete what you do not need")
}

func checkLeftovers(_ context.Context, e *Env) Findings {
	s := storeAt(e.at.State)
	if why := proc.Blind(); why != "" || runtime.GOOS == "windows" {
		return skipped("not tested: %s", cmp.Or(why, "Windows ends what a daemon has started with it"))
	}
	pids := proc.Marked(proc.MarkEnv, s.MarksBuild)
	switch {
	case len(pids) == 0:
		return fine("none")
	case e.lock().held:
		return fine("builds of the daemon run; their processes: %d", len(pids))
	}
	slices.Sort(pids)
	texts := make([]string, len(pids))
	for i, pid := range pids {
		texts[i] = fmt.Sprint(pid)
	}
	return warning("processes of builds go on, and their daemon is gone: pid %s", some(texts)).
		hint("nothing to do: the next start ends them; or: runt doctor --fix").
		fixedLockedBy(func() (string, error) {
			return fmt.Sprintf("ended processes: %d", proc.EndMarked(proc.MarkEnv, s.MarksBuild)), nil
		})
}

func checkProcesses(_ context.Context, e *Env) Findings {
	why := proc.Blind()
	switch {
	case runtime.GOOS != "linux":
		return skipped("not needed: only Linux hides processes")
	case why != "":
		return problem("%s, so nothing can be leased, and no environment that was used is removed", why).
			hint(proc.BlindHint)
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
	firstYear = 2024      // of this program
	clockSlop = time.Hour // between machines that share a folder
)

func checkClock(_ context.Context, e *Env) Findings {
	now := time.Now()
	const hint = "set the clock: ages of environments and certificates depend on it"
	var id string
	var made time.Time
	if e.at.State != "" {
		id, made = newest(storeAt(e.at.State))
	}
	switch {
	case now.Year() < firstYear:
		return problem("the clock says %s", now.Format(time.DateTime)).hint(hint)
	case made.After(now.Add(clockSlop)):
		return warning("the clock says %s, and the environment %s was made %s",
			now.Format(time.DateTime), id, made.Local().Format(time.DateTime)).hint(hint)
	}
	return fine("%s", now.Format("2006-01-02 15:04 MST"))
}

// unmanaged lists names among the environments that no daemon made. A daemon may be running: a build record is
// written before the folder, and removed after the manifest is written.
func unmanaged(s envdir.Store) ([]string, error) {
	entries, err := os.ReadDir(s.Envs())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		id := e.Name()
		if strings.HasPrefix(id, ".") || envdir.Exists(s.Record(id)) {
			continue
		}
		_, ours := envdir.PoolOf(id)
		if ours && e.IsDir() {
			_, _, err := s.ReadManifest(id)
			ours = !errors.Is(err, envdir.ErrNoManifest)
		}
		if (!ours || !e.IsDir()) && envdir.Exists(s.Env(id)) {
			names = append(names, id)
		}
	}
	return names, nil
}

// newest is the youngest environment, by its manifest.
func newest(s envdir.Store) (id string, at time.Time) {
	entries, _ := os.ReadDir(s.Envs())
	for _, e := range entries {
		if _, ours := envdir.PoolOf(e.Name()); !ours {
			continue
		}
		if m, _, err := s.ReadManifest(e.Name()); err == nil && m.CreatedAt.After(at) {
			id, at = e.Name(), m.CreatedAt
		}
	}
	return id, at
}
