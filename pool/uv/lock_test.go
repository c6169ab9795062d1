package uv

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"runtimed/internal/pyreq"
	"runtimed/internal/testkit"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

func TestALockIsRenewedWhenItIsOldAndNotBefore(t *testing.T) {
	s := newStandin(t)
	sp := wanting("ipykernel")
	renew := func() string {
		t.Helper()
		if err := s.Renew(t.Context(), sp, 24*time.Hour); err != nil {
			t.Error(err)
		}
		return s.Calls("-")
	}
	if got := renew(); got != "" {
		t.Errorf("without a lock: %s", got)
	}
	if _, _, err := s.build(sp); err != nil {
		t.Fatal(err)
	}
	s.Calls("-")
	if got := renew(); got != "" {
		t.Errorf("with a new lock: %s", got)
	}
	locks, _ := filepath.Glob(filepath.Join(s.State, "locks", "*.txt"))
	old := strings.Replace(locks[0], "py3.13", "py3.9", 1)
	past := time.Now().Add(-25 * time.Hour)
	testkit.Check(t, errors.Join(os.WriteFile(old, nil, 0o600), os.Chtimes(old, past, past),
		os.Chtimes(locks[0], past, past)))
	s.Write("fail.compile", "error: Failed to fetch")
	if err := s.Renew(t.Context(), sp, 24*time.Hour); builder.CauseOf(err) != builder.CauseNetwork {
		t.Error(err)
	}
	if data, err := os.ReadFile(locks[0]); err != nil || len(data) == 0 {
		t.Errorf("a failure cost the old lock: %v", err)
	}
	s.Remove("fail.compile")
	s.Calls("-")
	if got := renew(); !strings.HasPrefix(got, "python list") || !strings.Contains(got, "\npip compile") {
		t.Errorf("with an old lock: %s", got)
	}
	if got := renew(); got != "" || envdir.Exists(old) {
		t.Errorf("and once more: %s; the lock of an unused Python is there: %t", got, envdir.Exists(old))
	}
	if err := os.Truncate(locks[0], 0); err != nil { // a power loss did
		t.Fatal(err)
	}
	if dir, _, err := s.build(sp); err != nil || !strings.Contains(s.Calls(dir), "pip compile") {
		t.Errorf("an empty lock was used: %v", err)
	}
	left, _ := filepath.Glob(filepath.Join(s.State, "locks", ".*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestTheLockFileOfAPinnedPoolIsItsUsers(t *testing.T) {
	s := newStandin(t)
	sp := wanting("ipykernel")
	locked, err := pyreq.ReadLock("ipykernel==7.0 --hash=sha256:"+strings.Repeat("0", 64)+"\n", true)
	if err != nil {
		t.Fatal(err)
	}
	sp.Lock, sp.Locked, sp.LockFile = locked.Hash(), &locked, "team.txt"
	if _, _, err := s.build(sp); err != nil {
		t.Fatal(err)
	}
	calls := s.Calls("-")
	if strings.Contains(calls, "compile") || !strings.Contains(calls, "require") {
		t.Errorf("it was resolved, or its hashes were not asked for:\n%s", calls)
	}
	locks, _ := filepath.Glob(filepath.Join(s.Dir, "locks", "*.txt"))
	if len(locks) != 1 {
		t.Fatalf("%q", locks)
	}
	old := time.Now().Add(-1000 * time.Hour)
	before, err := os.ReadFile(locks[0])
	if err := errors.Join(err, os.Chtimes(locks[0], old, old), s.Renew(t.Context(), sp, time.Second)); err != nil {
		t.Error(err)
	}
	if after, err := os.ReadFile(locks[0]); err != nil || string(after) != string(before) ||
		strings.Contains(s.Calls("-"), "compile") {
		t.Errorf("%v, it was renewed:\n%s", err, after)
	}
	url := func(login string) string {
		return "ipykernel @ https://" + login + "@h.invalid/i-7.0-py3-none-any.whl --hash=sha256:" +
			strings.Repeat("0", 64) + "\n"
	}
	for _, login := range []string{"u:old", "u:new"} { // which has the same name
		l, err := pyreq.ReadLock(url(login), true)
		testkit.Check(t, err)
		sp.Lock, sp.Locked = l.Hash(), &l
		_, _, _ = s.build(sp) // the stand-in may know no URL
		data, err := os.ReadFile(s.lockPath(sp, Interpreter{Version: "3.13.1"}))
		if err != nil || !strings.Contains(string(data), login) {
			t.Errorf("%v, the login %s does not count:\n%s", err, login, data)
		}
	}
	sp.Lock, sp.Locked = locked.Hash(), &locked
	locked.Python, locked.Platform = "3.1", platform
	if _, _, err := s.build(sp); err == nil || !strings.Contains(err.Error(), "team.txt is for Python 3.1, and") {
		t.Errorf("another Python: %v", err)
	}
	locked.Platform = "plan9-mips"
	if _, _, err := s.build(sp); err == nil || !strings.Contains(err.Error(), "team.txt is for plan9-mips") {
		t.Errorf("another machine: %v", err)
	}
}

func TestALockFileThatCannotBeUsedFailsItsPoolAndWhatAddsToIt(t *testing.T) {
	s := newStandin(t)
	sp := wanting("ipykernel")
	without := sp.Hash()
	sp.Unlocked = "team.txt cannot be read"
	if sp.Hash() == without {
		t.Error("what was built without a lock file would serve")
	}
	more := wanting("toolz")
	more.Base = &sp
	for _, spec := range []builder.Spec{sp, more} {
		if _, _, err := s.build(spec); err == nil || err.Error() != sp.Unlocked {
			t.Error(err)
		}
		if got := s.Calls("-"); got != "" {
			t.Errorf("uv was called: %s", got)
		}
	}
}

func TestHashesThatWereGivenTakeThePlaceOfTheIndexes(t *testing.T) {
	s := newStandin(t)
	one, two, three := strings.Repeat("1", 64), strings.Repeat("2", 64), strings.Repeat("3", 64)
	pinned, err := pyreq.ReadLock("a==1 --hash=sha256:"+one+" --hash=sha256:"+two+"\nb==1 --hash=sha256:"+one, true)
	if err != nil {
		t.Fatal(err)
	}
	const index = "a==1 --hash=sha256:INDEX\nb==1 --hash=sha256:INDEX\nc==1 --hash=sha256:INDEX\n"
	resolved := []byte(strings.ReplaceAll(index, "INDEX", three))
	for _, c := range []struct {
		hashed []string
		want   map[string]string
		says   string
	}{
		{nil, map[string]string{"a": one + " " + two, "b": one, "c": three}, ""},
		{[]string{"c==1 --hash=sha256:" + two}, map[string]string{"a": one + " " + two, "b": one, "c": two}, ""},
		{[]string{"c==1 --hash=sha256:" + two, "a==1 --hash=sha256:" + two + " --hash=sha256:" + three},
			map[string]string{"a": two, "b": one, "c": two}, ""},
		{[]string{"c==1 --hash=sha256:" + two, "a==1 --hash=sha256:" + three}, nil, "other hashes for a than team.txt"},
		{[]string{"a==1 --hash=sha256:" + two}, nil, "none for c, which they need"},
	} {
		base := builder.Spec{Kind: builder.KindUV, Lock: "x", Locked: &pinned, LockFile: "team.txt"}
		b := &build{Builder: s.Builder, spec: builder.Spec{Kind: builder.KindUV, Base: &base, Hashed: c.hashed}}
		text, err := b.withHashes(t.Context(), resolved)
		if c.says != "" {
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%q: %v, want %q", c.hashed, err, c.says)
			}
			continue
		}
		got, readErr := pyreq.ReadLock(string(text), true)
		if err := errors.Join(err, readErr); err != nil {
			t.Error(err)
		}
		for _, e := range got.Entries {
			if h := strings.ReplaceAll(strings.Join(e.Hashes, " "), "sha256:", ""); h != c.want[e.Name] {
				t.Errorf("%q: %s has %s", c.hashed, e.Name, h)
			}
		}
	}
}
