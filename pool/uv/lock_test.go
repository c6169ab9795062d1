package uv

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
