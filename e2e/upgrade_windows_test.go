//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"runtimed/rpc"
)

// TestWindowsAnInstallerPutsANewProgramBesideTheOneThatRuns renames the file of the daemon that runs, which Windows
// allows, and puts another in its place.
func TestWindowsAnInstallerPutsANewProgramBesideTheOneThatRuns(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn()
	h.configure(quickly + "1\n")
	bin := filepath.Join(h.home, "Programs")
	runtimed, runt := filepath.Join(bin, "runtimed.exe"), filepath.Join(bin, "runt.exe")
	check(t, errors.Join(copyFile(daemonProgram, runtimed), copyFile(runtProgram, runt)))
	run := func(args ...string) said { return ran(t, h.env, "", runt, args...) }

	if s := run("daemon", "start"); s.code != 0 || s.err != "" || !strings.HasPrefix(s.out, "started: pid ") {
		t.Fatalf("%+v", s)
	}
	h.filled("uv", time.Minute)
	env := h.acquireFor(sleeper(t))
	before := must[rpc.Info](h, rpc.MethodInfo, nil)
	if s := run("pool", "status"); s.code != 0 || s.err != "" {
		t.Errorf("%+v", s)
	}

	check(t, os.Rename(runtimed, runtimed+".old"))
	if s := run("pool", "status"); s.code != 0 || s.err != "" { // it is not there, and nothing can be said of it
		t.Errorf("%+v", s)
	}
	check(t, copyFile(daemonProgram, runtimed))
	if s := run("pool", "status"); s.code != 0 || !strings.Contains(s.err, "the daemon's program was replaced") {
		t.Errorf("%+v", s)
	}
	h.filled("uv", time.Minute)
	ready := h.ready()
	if s := run("daemon", "restart"); s.code != 0 || s.err != "" || !strings.HasPrefix(s.out, "restarted: pid ") {
		t.Errorf("%+v", s)
	}
	after := must[rpc.Info](h, rpc.MethodInfo, nil)
	if after.PID == before.PID || after.Replaced {
		t.Errorf("%+v", after)
	}
	if s := run("pool", "status"); s.code != 0 || s.err != "" {
		t.Errorf("%+v", s)
	}
	h.eventually(10*time.Second, "the old program can be removed", func() bool {
		return os.Remove(runtimed+".old") == nil
	})
	if s := h.pool("uv"); s.Leased != 1 || !isThere(env.Python) {
		t.Errorf("%+v", s)
	}
	if now := h.ready(); len(now) != 1 || now[0] != ready[0] {
		t.Errorf("ready are %q, and were %q", now, ready)
	}
	h.loggedNoFault()
}

func TestWindowsAChangedConfigurationIsTakenOver(t *testing.T) {
	t.Parallel()
	h, _ := warmHouse(t, "1")
	h.configure(quickly + "2\n")
	h.runt("daemon", "reload")
	if s := h.pool("uv"); s.Target != 2 {
		t.Errorf("%+v", s)
	}
	h.configure(quickly + "many\n")
	s := h.try("daemon", "reload")
	if s.code != 2 || !strings.Contains(s.err, filepath.Join(h.home, `AppData\Roaming\runt\config.toml`)) {
		t.Errorf("%+v", s)
	}
	if s := h.pool("uv"); s.Target != 2 {
		t.Errorf("%+v", s)
	}
	h.configure(quickly + "3\n")
	h.eventually(time.Minute, "the daemon sees by itself that the file has changed", func() bool {
		return h.pool("uv").Target == 3
	})
	h.filled("uv", time.Minute)
}

func TestWindowsGCRemovesWhatNobodyNeedsAndPurgeLeavesNothing(t *testing.T) {
	t.Parallel()
	h, d := warmHouse(t, "1")
	stray := h.state("envs", "mine")
	check(t, os.Mkdir(stray, 0o700))
	owner := sleeper(t)
	released := h.acquireFor(owner)
	user := h.use(released)
	h.runt("pool", "release", released.ID)
	gc := func() (r rpc.GCResult) {
		t.Helper()
		check(t, json.Unmarshal([]byte(h.runt("env", "gc", "--json")), &r))
		return r
	}
	if r := gc(); len(r.Removed) != 0 || len(r.Strays) != 1 || r.Strays[0].Path != stray || !isThere(released.Python) {
		t.Errorf("%+v", r)
	}
	check(t, user.Process.Kill())
	_ = user.Wait() // it was killed
	if r := gc(); len(r.Removed) != 1 || r.Removed[0].ID != released.ID || isThere(released.Path) ||
		isThere(h.state("envs", ".trash", released.ID)) || !isThere(stray) {
		t.Errorf("%+v", r)
	}
	check(t, os.Remove(stray))

	env := h.acquireFor(owner)
	if s := h.try("service", "uninstall", "--purge"); s.code != 1 || !isThere(env.Python) ||
		!strings.Contains(s.err, "in use") {
		t.Errorf("%+v", s)
	}
	check(t, owner.Process.Kill())
	h.eventually(time.Minute, "the environment is given back", func() bool { return h.pool("uv").Leased == 0 })
	s := h.try("service", "uninstall", "--purge")
	if s.code != 0 || s.err != "" {
		t.Fatalf("%+v", s)
	}
	if code := d.exit(time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if isThere(h.state()) {
		var left []string
		_ = filepath.WalkDir(h.state(), func(path string, _ fs.DirEntry, _ error) error {
			left = append(left, path)
			return nil
		})
		t.Errorf("after %s\nthese stay: %q", s.out, left)
	}
}
