//go:build unix

package proc

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"runtimed/internal/testkit"
)

func seenAs(o Owner) Sight { s, _ := o.Look(); return s }

func TestAnOwnerIsAProcessAndNotAPid(t *testing.T) {
	cmd := testkit.Spawn(t, nil, "sleep", "600")
	owner, err := OwnerOf(cmd.Process.Pid)
	if err != nil || seenAs(owner) != Living || owner.BootID == "" {
		t.Fatalf("%+v", owner)
	}
	for name, change := range map[string]func(*Owner){
		"its pid was given to another process": func(o *Owner) { o.StartTime-- },
		"it is of another boot":                func(o *Owner) { o.BootID = "before" },
	} {
		other := owner
		if change(&other); seenAs(other) != Gone {
			t.Errorf("it counts as alive although %s", name)
		}
	}
	far := owner
	if far.MachineID, far.BootID = "another", "another"; seenAs(far) != Unseen {
		t.Error("a process that cannot be seen from here counts as dead")
	}
	_ = cmd.Process.Kill()
	testkit.Soon(t, "a zombie counts as dead", func() bool { return seenAs(owner) == Gone })
	if _, err := OwnerOf(cmd.Process.Pid); err == nil {
		t.Error("a zombie can own")
	}
	_ = cmd.Wait()
	for _, pid := range []int{cmd.Process.Pid, 0, -1, 1 << 30} {
		if _, err := OwnerOf(pid); err == nil {
			t.Errorf("%d can own", pid)
		}
	}
	if self, err := OwnerOf(os.Getpid()); err != nil || seenAs(self) != Living {
		t.Error("this process is not alive")
	}
}

func TestTheEndOfAProcessIsTold(t *testing.T) {
	if !tellsOfExits {
		t.Skip("this system does not tell")
	}
	ended := make(chan bool, 1)
	cmd := testkit.Spawn(t, nil, "sleep", "600")
	stop := onExit(cmd.Process.Pid, func() { ended <- true })
	select {
	case <-ended:
		t.Fatal("it lives")
	case <-time.After(50 * time.Millisecond):
	}
	_ = cmd.Process.Kill()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("nobody told")
	}
	stop()
	testkit.End(cmd)
	onExit(cmd.Process.Pid, func() { ended <- true })()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("nobody told of what had ended before")
	}
	quiet := testkit.Spawn(t, nil, "sleep", "600")
	onExit(quiet.Process.Pid, func() { ended <- true })() // the watch is ended at once
	testkit.End(quiet)
	select {
	case <-ended:
		t.Error("it was told after the end of the watch")
	case <-time.After(50 * time.Millisecond):
	}
}

func TestAProcessUsesAnEnvironmentByExecutableCommandLineOrMappedFile(t *testing.T) {
	envs, err := filepath.EvalSymlinks(t.TempDir())
	testkit.Check(t, err)
	sleep, err := exec.LookPath("sleep")
	testkit.Check(t, err)
	for _, id := range []string{"uv-exe", "uv-arg", "uv-map", "uv-not", "uv-not-either"} {
		testkit.Check(t, os.MkdirAll(filepath.Join(envs, id, "bin"), 0o700))
	}
	copyFile(t, sleep, filepath.Join(envs, "uv-exe", "bin", "sleep"))
	testkit.Spawn(t, nil, filepath.Join(envs, "uv-exe", "bin", "sleep"), "600")
	testkit.Spawn(t, nil, "/bin/sh", "-c", "sleep 600; exit", filepath.Join(envs, "uv-arg", "bin", "x"))
	// names it, and nothing below it
	testkit.Spawn(t, nil, "/bin/sh", "-c", "sleep 600; exit", filepath.Join(envs, "uv-not"))
	want := []string{"uv-exe", "uv-arg"}
	if mapsAreSeen {
		unmap := mapFile(t, filepath.Join(envs, "uv-map", "bin", "x.so"))
		defer unmap()
		want = append(want, "uv-map")
	}
	testkit.Soon(t, "all are seen", func() bool {
		found, err := users(envs, nil)
		testkit.Check(t, err)
		for _, id := range want {
			if p, ok := found[id]; !ok || lookAt(p) != Living {
				return false
			}
		}
		return len(found) == len(want)
	})
}

func TestExactlyTheMarkedProcessesAreEnded(t *testing.T) {
	dir := t.TempDir()
	ours := filepath.Join(dir, "envs", "uv-01234567")
	marked := testkit.Spawn(t, []string{MarkEnv + "=" + ours}, "sleep", "600")
	child := testkit.Spawn(t, []string{MarkEnv + "=" + ours}, "/bin/sh", "-c", "setsid sleep 600 & sleep 600; exit")
	stranger := testkit.Spawn(t, nil, "/bin/sh", "-c", "sleep 600; exit", ours)
	another := testkit.Spawn(t, []string{MarkEnv + "=" + ours + "8"}, "sleep", "600")
	testkit.Soon(t, "the marks are seen", func() bool {
		return MarkOf(marked.Process.Pid, MarkEnv) == ours && MarkOf(child.Process.Pid, MarkEnv) == ours
	})
	if n := EndMarked(MarkEnv, func(d string) bool { return d == ours }); n < 2 {
		t.Errorf("%d were ended", n)
	}
	for _, c := range []*exec.Cmd{marked, child} {
		testkit.Soon(t, "the marked are ended", func() bool { return !Runs(c.Process.Pid) })
	}
	for _, c := range []*exec.Cmd{stranger, another} {
		if !Runs(c.Process.Pid) {
			t.Error("a stranger was ended")
		}
	}
	testkit.Soon(t, "none is left",
		func() bool { return EndMarked(MarkEnv, func(d string) bool { return d == ours }) == 0 })
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	testkit.Check(t, err)
	defer in.Close()
	syscall.ForkLock.RLock() // else a child of another goroutine may hold it open for writing, and it cannot be run
	defer syscall.ForkLock.RUnlock()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, 0o700)
	testkit.Check(t, err)
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	testkit.Check(t, out.Close())
}

func TestAProcessUsesTheEnvironmentThatItsVariablesOrItsFolderName(t *testing.T) {
	envs, err := filepath.EvalSymlinks(t.TempDir())
	testkit.Check(t, err)
	other := filepath.Join(t.TempDir(), filepath.Base(envs))
	testkit.Check(t, os.Symlink(envs, other))
	held := map[string]Owner{}
	for _, id := range []string{"uv-name", "uv-list", "uv-link", "uv-cwd", "uv-not"} {
		held[id] = Owner{}
		testkit.Check(t, os.MkdirAll(filepath.Join(envs, id, "bin"), 0o700))
	}
	testkit.Spawn(t, []string{"VIRTUAL_ENV=" + filepath.Join(envs, "uv-name")}, "sleep", "600")
	testkit.Spawn(t, []string{"PATHS=/bin:" + filepath.Join(envs, "uv-list", "bin") + ":/usr/bin"}, "sleep", "600")
	testkit.Spawn(t, []string{"CONDA_PREFIX=" + filepath.Join(other, "uv-link")}, "sleep", "600")
	testkit.Spawn(t, []string{"VIRTUAL_ENV=" + filepath.Join(envs, "uv-not") + "x",
		"A=" + filepath.Join(t.TempDir(), filepath.Base(envs), "uv-not")}, "sleep", "600")
	want := []string{"uv-name", "uv-list", "uv-link"}
	if mapsAreSeen {
		cmd := exec.Command("sleep", "600")
		cmd.Dir = filepath.Join(envs, "uv-cwd", "bin")
		testkit.Check(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		want = append(want, "uv-cwd")
	}
	testkit.Soon(t, "all are seen", func() bool {
		found, err := users(envs, held)
		for _, id := range want {
			if p, ok := found[id]; !ok || lookAt(p) != Living {
				return false
			}
		}
		_, other := found["uv-not"]
		return err == nil && !other
	})
}

func TestWhatMayNotBeLookedAtUsesTheEnvironmentOfItsGroup(t *testing.T) {
	self, err := statOf(os.Getpid())
	testkit.Check(t, err)
	owner := Owner{PID: self.PID + 1, StartTime: self.start, Group: self.group, Terminal: 9, Namespace: Namespace()}
	far := owner
	far.Namespace = "another"
	s := search{"/state/envs", map[string]Owner{"uv-ours": owner, "uv-far": far, "uv-none": {}}}
	for name, c := range map[string]struct {
		p      stat
		closed bool
		want   int
	}{
		"of its group": {stat{group: self.group, session: 1}, true, 1},
		"of its group, and older": {stat{Process: Process{PID: self.PID, start: self.start},
			group: self.group, session: 1}, true, 0},
		"of a session that it led": {stat{group: 7, session: owner.PID}, true, 1},
		"of its terminal":          {stat{group: 7, session: 9, terminal: 9}, true, 1},
		"of its terminal, and older": {stat{Process: Process{PID: self.PID, start: self.start},
			group: 7, session: 9, terminal: 9}, true, 0},
		"of its group, and of a script that was there before": {stat{parent: self.PID, group: self.group}, true, 0},
		"of another group":           {stat{group: 7, session: 1}, true, 0},
		"of no group":                {stat{}, true, 0},
		"of its group, and readable": {stat{group: self.group, session: owner.PID}, false, 0},
	} {
		if c.p.PID == 0 {
			c.p.Process = Process{self.PID + 2, self.start}
		}
		if ids := s.uses(c.p, traces{closed: c.closed}); len(ids) != c.want || c.want == 1 && ids[0] != "uv-ours" {
			t.Errorf("%s: %v", name, ids)
		}
	}
}
