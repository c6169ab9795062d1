//go:build unix

package pool

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestTheNextDaemonEndsTheBuildsOfAKilledOne(t *testing.T) {
	cfg := sized(0)
	cfg.Dir = t.TempDir()
	s, err := openStore(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	build := spawn(t, []string{MarkEnv + "=" + s.env("uv-01234567")}, "sleep", "600")
	fetch := spawn(t, []string{MarkEnv + "=" + s.tools()}, "sleep", "600")
	other := spawn(t, []string{MarkEnv + "=" + filepath.Join(t.TempDir(), "envs", "uv-01234567")}, "sleep", "600")
	if err := errors.Join(s.begin("uv-01234567", "uv"), os.MkdirAll(filepath.Join(s.env("uv-01234567"), "bin"), 0o700)); err != nil {
		t.Fatal(err)
	}
	soon(t, "the marks are seen", func() bool { return markOf(build.Process.Pid) != "" && markOf(fetch.Process.Pid) != "" })
	m := runManager(t, cfg)
	defer func() { _ = m.Stop(t.Context()) }()
	if err := m.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*exec.Cmd{build, fetch} {
		soon(t, "the builds are ended", func() bool { _, alive := startTime(c.Process.Pid); return !alive })
	}
	if _, alive := startTime(other.Process.Pid); !alive {
		t.Error("a build of another daemon was ended")
	}
	if exists(s.env("uv-01234567")) || exists(s.record("uv-01234567")) {
		t.Error("what was half made is still there")
	}
}

// A front-end is killed, and its kernel lives on: with real processes.
func TestAKernelThatOutlivesItsFrontEndKeepsItsEnvironment(t *testing.T) {
	cfg := sized(1)
	cfg.Dir = t.TempDir()
	m := runManager(t, cfg)
	defer func() { _ = m.Stop(t.Context()) }()
	front := spawn(t, nil, "sleep", "600")
	owner, _ := OwnerOf(front.Process.Pid)
	got, err := m.Acquire(t.Context(), Request{Pool: "uv", Wait: 10 * time.Second, Owner: owner})
	if err != nil {
		t.Fatal(err)
	}
	kernel := spawn(t, nil, "/bin/sh", "-c", "sleep 600; exit", got.Env.Python)
	end(front)
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
	end(kernel)
	began := time.Now()
	for exists(got.Env.Path) && time.Since(began) < 15*time.Second {
		time.Sleep(20 * time.Millisecond)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it went after %s", took)
	}
}
