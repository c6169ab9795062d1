package pool

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"runtimed/internal/proc"
	"runtimed/internal/testkit"
	"runtimed/pool/envdir"
)

// A front-end is killed, and what it started from the environment lives on: with real processes. Nobody can remove a
// program that runs.
func TestAnEnvironmentStaysWhileAProgramOfItRuns(t *testing.T) {
	cfg := sized(1)
	cfg.Dir = t.TempDir()
	m := runManager(t, cfg)
	front := testkit.Sleeper(t, testkit.Self(t))
	owner, _ := proc.OwnerOf(front.Process.Pid)
	got, err := m.Acquire(t.Context(), Request{Pool: "uv", Wait: 10 * time.Second, Owner: owner})
	testkit.Check(t, err)
	program, err := os.ReadFile(testkit.Self(t))
	kernel := filepath.Join(got.Env.Path, "bin", "kernel.exe")
	testkit.Check(t, errors.Join(err, os.WriteFile(kernel, program, 0o700)))
	running := testkit.Sleeper(t, kernel)
	kept := func(m *Manager) bool {
		list, err := m.List(t.Context(), "", Leased)
		return err == nil && len(list) == 1 && list[0].ID == got.Env.ID && list[0].Alive
	}
	testkit.Check(t, errors.Join(front.Process.Kill(), m.Stop(t.Context())))
	_ = front.Wait()
	m = runManager(t, cfg) // a new one looks at all of them
	defer func() { _ = m.Stop(t.Context()) }()
	testkit.Check(t, m.waitOpen(t.Context()))
	testkit.Soon(t, "it is seen in use", func() bool {
		var seen bool
		m.view(func() { seen = m.envs[got.Env.ID].tenancy.user.PID == running.Process.Pid })
		return seen
	})
	if !kept(m) || !envdir.Exists(kernel) {
		t.Error("it was given back while its program runs")
	}
	if _, err := m.GC(t.Context(), false); err != nil || !kept(m) {
		t.Errorf("it was collected: %v", err)
	}
	testkit.Check(t, running.Process.Kill())
	_ = running.Wait()
	for range 1000 {
		if !envdir.Exists(got.Env.Path) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("it stays when nothing runs from it any more")
}

func TestWhatAKilledDaemonHalfMadeIsGone(t *testing.T) {
	cfg := sized(0)
	cfg.Dir = t.TempDir()
	s, err := envdir.Open(cfg.Dir)
	testkit.Check(t, err)
	const id = "uv-01234567"
	bin := filepath.Join(s.Env(id), "bin")
	testkit.Check(t, errors.Join(s.Begin(id, "uv"), os.MkdirAll(bin, 0o700),
		os.WriteFile(filepath.Join(bin, "read-only.py"), nil, 0o400)))
	open, err := os.Create(filepath.Join(bin, "half.whl")) // as by a process of it that has not quite ended
	testkit.Check(t, err)
	time.AfterFunc(300*time.Millisecond, func() { open.Close() })
	m := runManager(t, cfg)
	defer func() { _ = m.Stop(t.Context()) }()
	testkit.Check(t, m.waitOpen(t.Context()))
	if envdir.Exists(s.Env(id)) || envdir.Exists(s.Record(id)) {
		t.Error("it is still there")
	}
}
