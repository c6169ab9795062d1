package pool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"runtimed/internal/statedir"
	"runtimed/internal/testkit"
	"runtimed/pool/envdir"
)

// tree makes n files in folders below dir.
func tree(t *testing.T, dir string, n int) {
	t.Helper()
	for i := range n {
		sub := filepath.Join(dir, fmt.Sprint(i%7), "x")
		testkit.Check(t, errors.Join(os.MkdirAll(sub, 0o700),
			os.WriteFile(filepath.Join(sub, fmt.Sprint(i)), nil, 0o400)))
	}
}

func never() error { return nil }

func TestRemovingEndsWhenItIsTold(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	tree(t, dir, 1000)
	stop := errors.New("enough")
	err := statedir.RemoveTree(filepath.Dir(dir), filepath.Base(dir), func() error { return stop })
	if !errors.Is(err, stop) {
		t.Error(err)
	}
	left := 0
	_ = filepath.WalkDir(dir, func(string, fs.DirEntry, error) error { left++; return nil })
	if left < 900 {
		t.Errorf("%d are left of 1000", left)
	}
}

func TestTheTrashKeepsWhatTheDaemonDidNotPutThere(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.settled()
		mine := []string{"notes", "uv-0123456g", ".Trash-1000"}
		for _, name := range append(mine, "uv-aaaaaaaa", "uv-aaaaaaaa.1") {
			tree(t, filepath.Join(w.store.Trash(), name), 3)
		}
		tree(t, filepath.Join(w.store.Records(), "drafts"), 3)
		w.crash()
		w.start()
		w.pass(time.Hour)
		if _, err := w.GC(context.Background(), false); err != nil {
			t.Error(err)
		}
		entries, err := os.ReadDir(w.store.Trash())
		if err != nil || len(entries) != len(mine) || !envdir.Exists(filepath.Join(w.store.Records(), "drafts")) {
			t.Errorf("in the trash are %v, %v", entries, err)
		}
	})
}

func TestTheTrashIsNotEmptiedBesideABuild(t *testing.T) {
	inBubble(t, sized(1), func(w *world) {
		w.settled()
		w.b.set(func() { w.b.takes = time.Minute })
		w.release(w.get(1).Env.ID)
		w.pass(time.Minute)
		if n := len(w.store.Trashed()); n != 1 {
			t.Fatalf("%d are in the trash", n)
		}
		if w.pass(20 * time.Second); len(w.store.Trashed()) != 0 {
			t.Error("and it stays there")
		}
	})
}

func TestAnEnvironmentMayBeThrownOntoItsOwnNameInTheTrash(t *testing.T) {
	s, err := envdir.Open(t.TempDir())
	testkit.Check(t, err)
	for range 3 {
		tree(t, s.Env("uv-01234567"), 3)
		testkit.Check(t, s.Discard("uv-01234567"))
	}
	entries, err := os.ReadDir(s.Trash())
	if err != nil || len(entries) != 3 || envdir.Exists(s.Env("uv-01234567")) {
		t.Errorf("%v, %v", entries, err)
	}
	if err := s.Discard("uv-01234567"); err != nil {
		t.Errorf("what is gone: %v", err)
	}
	testkit.Link(t, t.TempDir(), s.Env("uv-01234567"))
	if err := s.Discard("uv-01234567"); err == nil || !envdir.Exists(s.Env("uv-01234567")) {
		t.Errorf("a link was thrown away: %v", err)
	}
	if !s.Known("uv-01234567") || s.Known("uv-76543210") {
		t.Error("known is wrong")
	}
}

func TestGCSaysWhatItWouldRemoveAndThenRemovesIt(t *testing.T) {
	inBubble(t, sized(2), func(w *world) {
		w.settled()
		a, b := w.get(1).Env.ID, w.get(2).Env.ID
		w.pass(time.Minute)
		w.p.use(a, true)
		w.release(a)
		w.release(b)
		w.settled()
		tree(t, filepath.Join(w.store.Envs(), "mine"), 3)
		want := func(dry bool, removed int) {
			t.Helper()
			c, err := w.GC(context.Background(), dry)
			if err != nil || len(c.Removed) != removed || c.Kept != 3 || len(c.Unmanaged) != 1 ||
				c.Unmanaged[0].ID != "mine" {
				t.Errorf("dry %t: %+v, %v", dry, c, err)
			}
			for _, i := range c.Removed {
				if i.ID != b || i.Size <= 0 || i.Reason == "" || envdir.Exists(i.Path) != dry {
					t.Errorf("dry %t: %+v", dry, i)
				}
			}
		}
		want(true, 1)
		want(true, 1)
		want(false, 1)
		want(false, 0)
	})
}

func TestALinkInPlaceOfAFolderOfOursIsNeverFollowed(t *testing.T) {
	for _, name := range []string{".trash", ".new"} {
		inBubble(t, sized(1), func(w *world) {
			got := w.get(1)
			w.pass(time.Minute)
			outside, folder := t.TempDir(), filepath.Join(w.store.Envs(), name)
			precious := filepath.Join(outside, "uv-00000000.json")
			testkit.Check(t, errors.Join(os.WriteFile(precious, nil, 0o600), os.RemoveAll(folder)))
			testkit.Link(w, outside, folder)
			w.release(got.Env.ID)
			w.get(2) // so that another is built
			w.pass(time.Minute)
			if _, err := w.GC(context.Background(), false); err != nil {
				t.Error(err)
			}
			if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 ||
				entries[0].Name() != filepath.Base(precious) {
				t.Errorf("%s: where the link leads there is %v, %v", name, entries, err)
			}
			if lines := w.said("is a link, not a folder"); len(lines) == 0 {
				t.Errorf("%s: the log says nothing", name)
			}
			testkit.Check(t, os.Remove(folder))
			w.pass(time.Hour)
			w.want(1, 0, 1, 0)
		})
	}
}
