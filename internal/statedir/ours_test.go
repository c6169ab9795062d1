package statedir

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAPurgeThatIsKilledAfterAnyStepIsFinishedByTheNext(t *testing.T) {
	for steps := 0; ; steps++ {
		dir := t.TempDir()
		for _, name := range []string{"tools/uv-cache/wheels-v5/x", "tools/uv-cache/archive-v0/x",
			"tools/rattler/repodata/x", "tools/compiled/0123456789abcdef-py3.13.txt/x",
			"tools/compiled/.compile-123/entry/x"} {
			put(t, filepath.Join(dir, name))
		}
		for _, name := range []string{"tools/uv-cache", "tools/rattler", "tools/compiled/0123456789abcdef-py3.13.txt",
			"tools/compiled/.compile-123"} {
			if err := Mark(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		put(t, PythonFile(dir), `{"path":"/x","version":"3.12.4"}`)
		paths := kept(dir, false)
		if steps > len(paths) {
			return
		}
		RemoveAll(dir, paths[:min(steps, len(paths))])
		stays := append(RemoveAll(dir, kept(dir, false)), RemoveEmpty(dir, emptied(dir))...)
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 || len(stays) > 0 {
			t.Errorf("after %d steps, %v and %v are left, %v", steps, left, stays, err)
		}
	}
}

func TestAFileOfTheUsersThatIsNamedAsOneOfOursStays(t *testing.T) {
	dir := t.TempDir()
	ours := map[string]string{
		"daemon.json": `{"endpoint": "/s", "pid": 1}`, ".daemon.json123": `{"endpoint": "/s", "pid": 1}`,
		"runtimed.log": `{"level":"info"}`, "runtimed-2026-01-02T03-04-05.678-size.log": `{"level":"info"}`,
	}
	for _, usual := range []bool{true, false} {
		for name := range ours {
			put(t, filepath.Join(dir, name), "mine")
		}
		want := 0
		if usual {
			want = len(ours)
		}
		if paths := beside(dir, usual); len(paths) != want {
			t.Errorf("usual %t: %v", usual, paths)
		}
	}
	for name, text := range ours {
		put(t, filepath.Join(dir, name), text)
	}
	if paths := beside(dir, false); len(paths) != len(ours) {
		t.Errorf("of the daemon's own, only %v", paths)
	}
}
