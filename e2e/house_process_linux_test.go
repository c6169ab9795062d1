//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"runtimed/rpc"
)

// process is one that was begun in a house: with its HOME, or from one of its environments. It may be any zombie.
type process struct {
	pid, parent int
	zombie      bool
	argv        []string
	program     string // empty if it cannot be read
	env         string // the id of the environment that it runs from, by whatever shows it
}

func (p process) String() string {
	said := strings.Join(p.argv, " ")
	return fmt.Sprintf("process %d of %d (%s) %s", p.pid, p.parent, p.env, said[:min(len(said), 300)])
}

// processes are all of the house.
func (h *house) processes() []process {
	h.t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*")
	check(h.t, err)
	home, envs := "\x00HOME="+h.home+"\x00", h.state("envs")+"/"
	var list []process
	for _, path := range paths {
		read := func(name string) string {
			data, _ := os.ReadFile(filepath.Join(path, name)) // it may end meanwhile
			return string(data)
		}
		link := func(name string) string {
			to, _ := os.Readlink(filepath.Join(path, name))
			return to
		}
		p := process{program: link("exe")}
		line, environ := read("cmdline"), "\x00"+read("environ")+"\x00"
		all := strings.Join([]string{p.program, link("cwd"), line, environ}, "\x00")
		_, after, inEnv := strings.Cut(all, envs)
		stat := read("stat")
		fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:]) // a name may have anything in it
		if len(fields) < 2 {
			continue
		}
		p.zombie = fields[0] == "Z" || fields[0] == "X"
		p.pid, _ = strconv.Atoi(filepath.Base(path))
		p.parent, _ = strconv.Atoi(fields[1])
		p.argv = strings.Split(strings.TrimRight(line, "\x00"), "\x00")
		if inEnv {
			p.env = after[:strings.IndexFunc(after+"/", func(r rune) bool { return strings.ContainsRune("/\x00:", r) })]
		}
		if inEnv || strings.Contains(environ, home) || p.zombie { // of which only the parent is known
			list = append(list, p)
		}
	}
	return list
}

// leftovers is what is there and should not be, once nobody but the daemon and the living front-ends needs anything:
// processes, leases, folders, sockets of standbys. A lease may wait for its session, and the daemon may build.
func (h *house) leftovers(living ...*jupyter) []string {
	h.t.Helper()
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	info, err := ask[rpc.Info](h, rpc.MethodInfo, nil)
	if err != nil {
		return []string{fmt.Sprint("no daemon: ", err)}
	}
	list, err := ask[rpc.EnvListResult](h, rpc.MethodEnvList, nil)
	if err != nil {
		return []string{err.Error()}
	}
	all := h.processes()
	pids := []int{info.PID}
	for _, j := range living {
		pids = append(pids, j.cmd.Process.Pid)
	}
	// Whatever a living front-end has started, and whatever runs from the environment of its kernel.
	used, states := map[string]bool{}, map[string]string{"": ""}
	for _, e := range list.Envs {
		states[e.ID] = e.State
		used[e.ID] = e.State == rpc.EnvLeased &&
			slices.ContainsFunc(living, func(j *jupyter) bool { return j.holds == e.ID })
		switch {
		case e.State == rpc.EnvRemoving:
			fault("%s is still there", e.ID)
		case e.State == rpc.EnvLeased && !used[e.ID] && (e.Lease.Alive || e.Lease.Session == ""):
			fault("%s is leased: %+v", e.ID, *e.Lease)
		}
	}
	parents := map[int]int{}
	for _, p := range all {
		parents[p.pid] = p.parent
	}
	of := func(p process, pid int) bool { // whether pid began what p is in
		for at := p.parent; at > 1; at = parents[at] {
			if at == pid {
				return true
			}
		}
		return false
	}
	var standbys []string // the ids of environments
	for _, p := range all {
		// The daemon's own: what builds, and what waits in an environment that nobody has.
		state, known := states[p.env]
		own := of(p, info.PID) && known && state != rpc.EnvLeased && state != rpc.EnvRemoving
		switch {
		case p.zombie && p.parent != info.PID:
			// Its front-end reaps it in time, and orphans nobody, in a container without an init.
		case own && !p.zombie:
			standbys = append(standbys, p.env)
		case !slices.Contains(pids, p.pid) && !used[p.env] && !slices.Contains(pids[1:], p.parent):
			fault("%v", p)
		}
	}
	for _, name := range h.folders() {
		if !slices.ContainsFunc(list.Envs, func(e rpc.EnvListed) bool { return e.ID == name }) {
			fault("folder %s", name)
		}
	}
	sockets, err := filepath.Glob(filepath.Join(filepath.Dir(h.socket), "k????????"))
	check(h.t, err)
	for _, path := range sockets {
		of := strings.TrimPrefix(filepath.Base(path), "k")
		if !slices.ContainsFunc(standbys, func(id string) bool { return strings.HasSuffix(id, of) }) {
			fault("socket %s", path)
		}
	}
	return faults
}

// clean waits until nothing is left over.
func (h *house) clean(within time.Duration, living ...*jupyter) {
	h.t.Helper()
	var faults []string
	for end := time.Now().Add(within); ; time.Sleep(50 * time.Millisecond) {
		if faults = h.leftovers(living...); len(faults) == 0 {
			return
		}
		if time.Now().After(end) {
			h.t.Fatalf("left over after %s:\n%s", within, strings.Join(faults, "\n"))
		}
	}
}
