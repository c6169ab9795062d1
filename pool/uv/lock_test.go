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
	locked.Python, locked.Platform = "3.1", platform
	if _, _, err := s.build(sp); err == nil || !strings.Contains(err.Error(), "team.txt is for Python 3.1, and") {
		t.Errorf("another Python: %v", err)
	}
	locked.Platform = "plan9-mips"
	if _, _, err := s.build(sp); err == nil || !strings.Contains(err.Error(), "team.txt is for plan9-mips") {
		t.Errorf("another machine: %v", err)
	}
}
