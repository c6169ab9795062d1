//go:build unix

package pool

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"runtimed/internal/proc"
	"runtimed/internal/testkit"
	"runtimed/pool/envdir"
)

func TestTheNextDaemonEndsTheBuildsOfAKilledOne(t *testing.T) {
	cfg := sized(0)
	cfg.Dir = t.TempDir()
	s, err := envdir.Open(cfg.Dir)
	testkit.Check(t, err)
	build := testkit.Spawn(t, []string{proc.MarkEnv + "=" + s.Env("uv-01234567")}, "sleep", "600")
	fetch := testkit.Spawn(t, []string{proc.MarkEnv + "=" + s.Tools()}, "sleep", "600")
	other := testkit.Spawn(t, []string{proc.MarkEnv + "=" + filepath.Join(t.TempDir(), "envs", "uv-01234567")}, "sleep",
		"600")
	testkit.Check(t, errors.Join(s.Begin("uv-01234567", "uv"),
		os.MkdirAll(filepath.Join(s.Env("uv-01234567"), "bin"), 0o700)))
	testkit.Soon(t, "the marks are seen", func() bool {
		return proc.MarkOf(build.Process.Pid, proc.MarkEnv) != "" && proc.MarkOf(fetch.Process.Pid, proc.MarkEnv) != ""
	})
	m := runManager(t, cfg)
	defer func() { _ = m.Stop(t.Context()) }()
	testkit.Check(t, m.waitOpen(t.Context()))
	for _, c := range []*exec.Cmd{build, fetch} {
		testkit.Soon(t, "the builds are ended",
			func() bool { return !proc.Runs(c.Process.Pid) })
	}
	if !proc.Runs(other.Process.Pid) {
		t.Error("a build of another daemon was ended")
	}
	if envdir.Exists(s.Env("uv-01234567")) || envdir.Exists(s.Record("uv-01234567")) {
		t.Error("what was half made is still there")
	}
}

// A front-end is killed, and its kernel lives on: with real processes.
func TestAKernelThatOutlivesItsFrontEndKeepsItsEnvironment(t *testing.T) {
	cfg := sized(1)
	cfg.Dir = t.TempDir()
	m := runManager(t, cfg)
	defer func() { _ = m.Stop(t.Context()) }()
	front := testkit.Spawn(t, nil, "sleep", "600")
	owner, _ := proc.OwnerOf(front.Process.Pid)
	got, err := m.Acquire(t.Context(), Request{Pool: "uv", Wait: 10 * time.Second, Owner: owner})
	testkit.Check(t, err)
	kernel := testkit.Spawn(t, nil, "/bin/sh", "-c", "sleep 600; exit", got.Env.Python)
	testkit.End(front)
	time.Sleep(200 * time.Millisecond) // several looks
	if list, err := m.List(t.Context(), "", Leased); err != nil || len(list) != 1 || !list[0].Alive {
		t.Errorf("%+v, %v", list, err)
	}
	_ = m.Stop(t.Context())
	m2 := runManager(t, cfg)
	defer func() { _ = m2.Stop(t.Context()) }()
	if list, err := m2.List(t.Context(), "", Leased); err != nil || len(list) != 1 || !list[0].Alive {
		t.Errorf("%+v, %v", list, err)
	}
	testkit.End(kernel)
	began := time.Now()
	for envdir.Exists(got.Env.Path) && time.Since(began) < 15*time.Second {
		time.Sleep(20 * time.Millisecond)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it went after %s", took)
	}
}
