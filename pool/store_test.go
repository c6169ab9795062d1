package pool

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"runtimed/internal/proc"
	"runtimed/internal/testkit"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

func TestAStateDirectoryThatIsMovedIsBuiltAnew(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.settled()
		leased := w.get(1).Env.ID
		w.pass(time.Minute)
		w.stop()
		moved := filepath.Join(t.TempDir(), "elsewhere")
		testkit.Check(t, os.Rename(w.store.Dir, moved))
		w.cfg.Dir = moved
		w.start()
		w.want(1, 0, 1, 0)
		if w.b.tries() != 3 || w.ids(Leased)[0] != leased {
			t.Errorf("%d builds; leased are %v", w.b.tries(), w.ids(Leased))
		}
	})
}

func TestAStateDirectoryThatIsALinkIsResolvedOnce(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	real := t.TempDir()
	testkit.Link(t, real, link)
	s, err := envdir.Open(link)
	if err != nil || s.Dir != real {
		t.Errorf("%s, %v", s.Dir, err)
	}
	testkit.Check(t, os.RemoveAll(s.Envs()))
	testkit.Link(t, t.TempDir(), s.Envs())
	if _, err := envdir.Open(link); err == nil || !strings.Contains(err.Error(), "is a link, not a folder") {
		t.Errorf("a link in the place of the environments: %v", err)
	}
	if _, err := envdir.Open(filepath.Join(s.Dir, "file", "x")); err != nil {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	testkit.Check(t, os.WriteFile(file, nil, 0o600))
	if _, err := envdir.Open(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file in the place of the state directory: %v", err)
	}
}

// benchWorld has n ready environments on disk.
func benchDir(b *testing.B, n int) Config {
	cfg := sized(n)
	cfg.Dir = b.TempDir()
	cfg.Parallel = 8
	m := runManager(b, cfg)
	for {
		list, err := m.Status(context.Background(), "")
		testkit.Check(b, err)
		if list[0].Available == n {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	testkit.Check(b, m.Stop(context.Background()))
	return cfg
}

func runManager(tb testing.TB, cfg Config) *Manager {
	tb.Helper()
	m, err := New(cfg, map[string]builder.Builder{builder.KindUV: &fakeBuilder{}}, nop)
	if err != nil {
		tb.Fatal(err)
	}
	m.Start()
	return m
}

func BenchmarkReconcile100ReadyEnvironments(b *testing.B) {
	cfg := benchDir(b, 100)
	for b.Loop() {
		m := runManager(b, cfg)
		list, err := m.Status(context.Background(), "")
		if err != nil || list[0].Available != 100 {
			b.Fatal(list, err)
		}
		testkit.Check(b, m.Stop(context.Background()))
	}
	if per := b.Elapsed() / time.Duration(b.N); per > 100*time.Millisecond {
		b.Errorf("%s", per)
	}
}

func BenchmarkAcquireFromAReadyPool(b *testing.B) {
	cfg := benchDir(b, 3)
	m := runManager(b, cfg)
	owner, _ := proc.OwnerOf(os.Getpid())
	for b.Loop() {
		got, err := m.Acquire(context.Background(), Request{Pool: "uv", Wait: time.Minute, Owner: owner})
		testkit.Check(b, err)
		m.Undelivered(got.Env.ID)
	}
	testkit.Check(b, m.Stop(context.Background()))
}

func TestAStateDirectoryThatIsNotUTF8IsRefused(t *testing.T) {
	dir := t.TempDir()
	link, odd := filepath.Join(dir, "link"), filepath.Join(dir, "\xe9")
	if err := os.Mkdir(odd, 0o700); err != nil {
		t.Skipf("no names of such bytes here: %v", err)
	}
	testkit.Link(t, odd, link)
	if _, err := envdir.Open(link); err == nil || !strings.Contains(err.Error(), `\xe9", which is not UTF-8`) {
		t.Errorf("a link to it: %v", err)
	}
}
