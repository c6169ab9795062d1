package uv

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
	"runtimed/internal/testkit"
	"runtimed/pool/builder"
)

// withStore gives s an empty store.
func (s *standin) withStore() (dir string) {
	s.Helper()
	dir = filepath.Join(s.TempDir(), "store")
	testkit.Check(s, errors.Join(os.MkdirAll(filepath.Join(dir, storeLocks), 0o755)))
	s.Configure(Config{Store: dir})
	return dir
}

// lockOf is the lock file of the last build.
func (s *standin) lockOf() string {
	s.Helper()
	locks, err := filepath.Glob(filepath.Join(s.State, "locks", "*.txt"))
	if err != nil || len(locks) != 1 {
		s.Fatalf("lock files: %q, %v", locks, err)
	}
	return locks[0]
}

func TestTheStoreIsAskedBetweenTheCacheAndTheIndexAndIsNoReasonToFail(t *testing.T) {
	ofManyBuilds(t)
	const missing = "error: No solution found\n  cause: Because six was not found in the cache"
	const network = "error: Failed to fetch: https://u:p@h/simple"
	for name, c := range map[string]struct {
		offline, online string // how these tries fail
		tries           string
		cause, says     string
	}{
		"it has all":    {"", "", "--offline", "", ""},
		"it lacks some": {missing, "", "--offline --offline --no-index --offline ", "", ""},
		"it is unreadable": {"Permission denied (os error 13)", "", "--offline --offline --no-index --offline",
			builder.CausePermission, ""},
		"it lacks some, and the index is away": {missing, network, "--offline --offline --no-index --offline ",
			builder.CauseNetwork, " does not have all that is needed"},
		"it is damaged, and the index is away": {"error: Hash mismatch for `six==1.17.0`", network,
			"--offline --offline --no-index --offline ", builder.CauseNetwork,
			" does not have all that is needed: a file there is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStandin(t)
			store := s.withStore()
			for step, text := range map[string]string{"offline": c.offline, "online": c.online} {
				if text != "" {
					s.Write("fail."+step, text)
				}
			}
			dir, _, err := s.build(wanting("six"))
			if builder.CauseOf(err) != c.cause {
				t.Errorf("%v", err)
			}
			if c.says != "" && !strings.Contains(err.Error(), "; the store "+store+c.says) {
				t.Errorf("%v", err)
			}
			var tries []string
			for line := range strings.Lines(s.Calls(dir)) {
				if _, flag, ok := strings.Cut(strings.TrimSpace(line), "LOCK"); ok {
					tries = append(tries, strings.TrimSpace(flag))
				}
			}
			if got := strings.Join(tries, " "); got != c.tries {
				t.Errorf("tried %q, not %q", got, c.tries)
			}
		})
	}
}

func TestAFirstBuildTakesOverTheLockFileOfTheStore(t *testing.T) {
	ofManyBuilds(t)
	s := newStandin(t)
	_, _, err := s.build(wanting("six"))
	testkit.Check(t, err)
	lock := s.lockOf()
	data, err := os.ReadFile(lock)
	testkit.Check(t, err)
	hourAgo := time.Now().Add(-time.Hour).Truncate(time.Second)
	resolved := func(s *standin) bool {
		t.Helper()
		dir, _, err := s.build(wanting("six"))
		testkit.Check(t, err)
		return strings.Contains(s.Calls(dir), "pip compile")
	}
	for name, c := range map[string]struct {
		change func(path string) error
		taken  bool
	}{
		"as it was written": {func(string) error { return nil }, true},
		"old": {func(path string) error {
			return os.Chtimes(path, time.Now().AddDate(-1, 0, 0), time.Now().AddDate(-1, 0, 0))
		}, true},
		"edited": {func(path string) error { return os.WriteFile(path, append(data, "evil==1\n"...), 0o644) }, false},
		"of another pool": {func(path string) error {
			return os.WriteFile(path, Sealed("other-py3.13.txt", []byte("evil==1\n")), 0o644)
		}, false},
		"without a seal": {func(path string) error { return os.WriteFile(path, []byte("six==1\n"), 0o644) }, false},
		"writable": { // where files have modes
			func(path string) error { return os.Chmod(path, 0o666) }, runtime.GOOS == "windows",
		},
		"a link": {func(path string) error {
			return errors.Join(os.Rename(path, path+".to"), os.Symlink(path+".to", path))
		}, false},
		"a folder": {func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o755)) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStandin(t)
			path := filepath.Join(s.withStore(), storeLocks, filepath.Base(lock))
			testkit.Check(t, os.WriteFile(path, data, 0o644))
			testkit.Check(t, errors.Join(os.Chtimes(path, hourAgo, hourAgo), c.change(path)))
			if got := resolved(s); got == c.taken {
				t.Errorf("it was resolved: %v", got)
			}
			now, err := os.Stat(s.lockOf())
			there, err2 := os.Stat(path)
			if c.taken && (err != nil || err2 != nil || !now.ModTime().Equal(there.ModTime())) {
				t.Errorf("it is not as old as that of the store: %v, %v", now, there)
			}
		})
	}
}

func TestARenewalTakesTheLockFileOfTheStoreWhileThatIsYoung(t *testing.T) {
	s := newStandin(t)
	store := s.withStore()
	_, _, err := s.build(wanting("six"))
	testkit.Check(t, err)
	lock := s.lockOf()
	data, err := os.ReadFile(lock)
	testkit.Check(t, err)
	path := filepath.Join(store, storeLocks, filepath.Base(lock))
	testkit.Check(t, os.WriteFile(path, data, 0o644))
	for name, c := range map[string]struct {
		ours, theirs time.Duration // their ages
		asks         bool
	}{
		"young":           {48 * time.Hour, time.Hour, false},
		"old":             {72 * time.Hour, 30 * time.Hour, true},
		"older than ours": {30 * time.Hour, 72 * time.Hour, true},
	} {
		for file, age := range map[string]time.Duration{lock: c.ours, path: c.theirs} {
			testkit.Check(t, os.Chtimes(file, time.Now().Add(-age), time.Now().Add(-age)))
		}
		s.Calls("/nowhere")
		testkit.Check(t, s.Renew(t.Context(), wanting("six"), 24*time.Hour))
		if got := strings.Contains(s.Calls("/nowhere"), "pip compile"); got != c.asks {
			t.Errorf("%s: it asks the index: %v", name, got)
		}
	}
}

func TestAStoreThatOthersMayWriteToOrMakeIsNone(t *testing.T) {
	if !statedir.SocketIsFile {
		return // modes are not checked
	}
	for _, c := range []struct {
		path string
		mode os.FileMode
	}{{".", 0o775}, {storeLocks, 0o757}, {"..", 0o777}, {"..", 0o775}} {
		dir := filepath.Join(t.TempDir(), "srv", "store")
		link := filepath.Join(t.TempDir(), "link")
		testkit.Check(t, errors.Join(os.MkdirAll(filepath.Join(dir, storeLocks), 0o755), os.Symlink(dir, link)))
		for _, way := range []string{dir, link} {
			testkit.Check(t, CheckStore(way))
			testkit.Check(t, os.Chmod(filepath.Join(dir, c.path), c.mode))
			err := CheckStore(way)
			if err == nil || c.path == ".." && !strings.Contains(err.Error(), filepath.Dir(dir)) {
				t.Errorf("%s: %04o: %v", c.path, c.mode, err)
			}
			testkit.Check(t, os.Chmod(filepath.Join(dir, c.path), 0o755))
		}
	}
}

func TestAStoreBelowAFolderForAllIsNoneUntilItsOwnerIsKnown(t *testing.T) {
	if !statedir.SocketIsFile {
		return // modes are not checked
	}
	scratch := filepath.Join(t.TempDir(), "scratch")
	dir := filepath.Join(scratch, "runt", "more", "store")
	testkit.Check(t, errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(scratch, 0o777|os.ModeSticky)))
	testkit.Check(t, CheckStore(dir)) // our own
	if os.Getuid() == 0 {
		testkit.Check(t, os.Chown(filepath.Join(scratch, "runt"), 4242, 4242)) // while it was away
		if err := CheckStore(dir); err == nil || !strings.Contains(err.Error(), scratch+" (mode") {
			t.Errorf("another's: %v", err)
		}
	}
	testkit.Check(t, errors.Join(os.RemoveAll(filepath.Join(scratch, "runt")), os.Chmod(scratch, 0o777)))
	testkit.Check(t, os.MkdirAll(dir, 0o755))
	if err := CheckStore(dir); err == nil || !strings.Contains(err.Error(), scratch+" (mode") {
		t.Errorf("anybody may move it: %v", err)
	}
}

func TestWhoReadsAStoreKeepsNobodyFromFillingIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	_, done, err := OpenStore(dir)
	testkit.Check(t, err)
	if _, _, err := OpenStore(dir); err == nil || !strings.Contains(err.Error(), "somebody else fills it") {
		t.Errorf("two fill it at the same time: %v", err)
	}
	done()
	reader := safefile.NewFolderLock(dir) // which needs no more than to read it
	if ok, err := reader.TryLock(); !ok && runtime.GOOS != "windows" {
		t.Fatal(err)
	}
	defer reader.Close()
	entries, err := os.ReadDir(dir)
	testkit.Check(t, err)
	for _, e := range entries {
		info, err := e.Info()
		if testkit.Check(t, err); !e.IsDir() && statedir.SocketIsFile && info.Mode().Perm() != 0o600 {
			t.Errorf("others may open %s (mode %04o)", e.Name(), info.Mode().Perm())
		}
	}
	_, done, err = OpenStore(dir)
	testkit.Check(t, err)
	done()
}

func TestTheURLOfAStoreIsOneItemOfAList(t *testing.T) {
	if got := storeURL("/a, b/c%d"); got != "file:///a%2C%20b/c%25d" {
		t.Error(got)
	}
}
