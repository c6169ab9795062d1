//go:build unix

package pool

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"runtimed/internal/proc"
	"runtimed/internal/statedir"
	"runtimed/internal/testkit"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

func TestATreeIsRemovedWithoutFollowingLinks(t *testing.T) {
	outside, dir := t.TempDir(), filepath.Join(t.TempDir(), "tree")
	tree(t, outside, 10)
	tree(t, dir, 300)
	testkit.Check(t, errors.Join(
		os.Symlink(outside, filepath.Join(dir, "link")),
		os.Symlink("/nowhere", filepath.Join(dir, "dangling")),
		syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600),
		os.Chmod(filepath.Join(dir, "3"), 0o500),
		os.Chmod(filepath.Join(dir, "4"), 0),
	))
	if err := statedir.RemoveTree(filepath.Dir(dir), filepath.Base(dir), never); err != nil || envdir.Exists(dir) {
		t.Errorf("%v; it is there: %t", err, envdir.Exists(dir))
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 7 {
		t.Errorf("outside are %v, %v", entries, err)
	}
	if err := statedir.RemoveTree(filepath.Dir(dir), filepath.Base(dir), never); err != nil {
		t.Errorf("what is gone: %v", err)
	}
}

// undeletable makes path a folder that even root cannot delete while a file system is mounted there; it is undone with
// the test.
func undeletable(t *testing.T, path string) {
	t.Helper()
	testkit.Check(t, os.MkdirAll(path, 0o700))
	testkit.MountTmpfs(t, path, "1m")
}

func TestDebrisThatCannotBeDeletedIsSaidOnceAndKeepsNothingElse(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.settled()
		undeletable(w.T, filepath.Join(w.store.Trash(), "uv-aaaaaaaa", "bin"))
		tree(t, filepath.Join(w.store.Trash(), "uv-aaaaaaaa", "lib"), 100)
		tree(t, filepath.Join(w.store.Trash(), "uv-bbbbbbbb"), 100)
		w.crash()
		w.start()
		w.pass(time.Hour)
		lib := filepath.Join(w.store.Trash(), "uv-aaaaaaaa", "lib")
		if got := w.store.Trashed(); len(got) != 1 || envdir.Exists(lib) {
			t.Errorf("in the trash are %v", got)
		}
		w.release(w.get(1).Env.ID)
		w.pass(time.Hour)
		if lines := w.said("cannot be deleted"); len(lines) != 1 || len(w.store.Trashed()) != 1 {
			t.Errorf("the log says %s; in the trash are %v", lines, w.store.Trashed())
		}
	})
}

func TestWhatIsMountedInAnEnvironmentSurvivesItAndTheRestGoesOnceItIsUnmounted(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		precious := filepath.Join(w.store.Dir, "precious") // on the same device
		tree(t, precious, 10)
		files := func(dir string) (n int) {
			_ = filepath.WalkDir(dir, func(string, fs.DirEntry, error) error { n++; return nil })
			return n
		}
		before := files(precious)
		id := w.settled().get(1).Env.ID
		data := filepath.Join(w.store.Env(id), "data")
		testkit.Check(t, os.Mkdir(data, 0o700))
		unmount := testkit.BindMount(w.T, precious, data)
		w.release(id)
		w.pass(time.Hour)
		if got := files(precious); got != before {
			t.Fatalf("of %d files that were mounted in it, %d are left", before, got)
		}
		at := filepath.Join(w.store.Trash(), id, "data")
		for _, dry := range []bool{true, false} {
			c, err := w.GC(context.Background(), dry)
			if err != nil || len(c.Removed) != 0 || len(c.Unmanaged) != 1 || c.Unmanaged[0].Path != at {
				t.Errorf("gc, dry %t: %+v, %v", dry, c, err)
			}
		}
		left, _ := os.ReadDir(filepath.Dir(at))
		if lines := w.said("is a mount point"); len(lines) != 1 || len(left) != 1 {
			t.Errorf("the log says %s; beside it are %v", lines, left)
		}
		unmount(at)
		if w.pass(time.Minute); len(w.store.Trashed()) != 0 || files(precious) != before {
			t.Errorf("unmounted: in the trash are %v, and %d of %d files", w.store.Trashed(), files(precious), before)
		}

		// An environment that is itself covered.
		id = w.settled().get(1).Env.ID
		unmount = testkit.BindMount(w.T, precious, w.store.Env(id))
		w.release(id)
		if w.pass(time.Hour); files(precious) != before || len(w.said("an environment cannot be removed")) != 1 {
			t.Errorf("covered: %d of %d files; the log says %s", files(precious), before, w.said("cannot be removed"))
		}
		unmount(w.store.Env(id))
		if w.pass(time.Minute); envdir.Exists(w.store.Env(id)) || files(precious) != before {
			t.Error("the environment is still there")
		}
	})
}

func TestLeasesAndReleasesWorkOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	testkit.MountTmpfs(t, dir, "1m")
	cfg := sized(2)
	cfg.Dir = dir
	m := runManager(t, cfg)
	defer func() { _ = m.Stop(context.Background()) }()
	wait := func(available int) {
		t.Helper()
		for range 500 {
			if list, err := m.Status(context.Background(), ""); err != nil || list[0].Available == available {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("never %d available", available)
	}
	wait(2)
	f, err := os.Create(filepath.Join(dir, "filler"))
	testkit.Check(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 512))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	owner, _ := proc.OwnerOf(os.Getpid())
	var ids []string
	for range 2 {
		got, err := m.Acquire(context.Background(), Request{Pool: "uv", Owner: owner})
		testkit.Check(t, err)
		ids = append(ids, got.Env.ID)
	}
	_, err = m.Acquire(context.Background(), Request{Pool: "uv", Owner: owner, Wait: 5 * time.Second})
	var failed *FailedError
	if !errors.As(err, &failed) || failed.Build.Cause != builder.CauseDiskFull {
		t.Errorf("a build on a full disk: %v", err)
	}
	if err := m.Release(context.Background(), ids[0]); err != nil {
		t.Error(err)
	}
	testkit.Check(t, errors.Join(m.Stop(context.Background()), f.Close(), os.Remove(f.Name())))
	m = runManager(t, cfg)
	wait(2)
	list, err := m.List(context.Background(), "", Leased)
	if err != nil || len(list) != 1 || list[0].ID != ids[1] {
		t.Errorf("%+v, %v", list, err)
	}
}
