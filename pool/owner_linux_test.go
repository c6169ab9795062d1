package pool

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"runtimed/internal/proc"
	"runtimed/internal/statedir"
	"runtimed/internal/testkit"
	"runtimed/pool/envdir"
)

func TestALeaseOfAnEarlierVersionIsCompletedWhereItsOwnerIsSeen(t *testing.T) {
	cfg := sized(1)
	cfg.Dir = t.TempDir()
	m := runManager(t, cfg)
	cmd := testkit.Spawn(t, nil, "sleep", "600")
	owner, err := proc.OwnerOf(cmd.Process.Pid)
	testkit.Check(t, err)
	got, err := m.Acquire(t.Context(), Request{Pool: "uv", Wait: 10 * time.Second, Owner: owner, Key: "again"})
	testkit.Check(t, err)
	_ = m.Stop(t.Context())
	old := *got.Env.Lease
	old.Owner.Namespace, old.Owner.Group = "", 0
	data, err := envdir.EncodeLease(envdir.LeaseRecord{State: envdir.LeaseHeld, Lease: &old})
	if err == nil {
		err = os.WriteFile(filepath.Join(got.Env.Path, envdir.LeaseName), data, 0o600)
	}
	testkit.Check(t, err)
	var used *InUseError
	if _, _, err := Purge(cfg.Dir, true, nop); !errors.As(err, &used) {
		t.Errorf("a purge that only looks: %v", err)
	}
	if r, err := readLease(got.Env.Path); err != nil || r.Owner != old.Owner {
		t.Errorf("a purge that only looks has written %+v, %v", r, err)
	}
	m = runManager(t, cfg)
	defer func() { _ = m.Stop(t.Context()) }()
	again, err := m.Acquire(t.Context(), Request{Pool: "uv", Wait: 10 * time.Second, Owner: owner, Key: "again"})
	if err != nil || again.Env.ID != got.Env.ID {
		t.Errorf("who asks again with the key gets %s, not %s: %v", again.Env.ID, got.Env.ID, err)
	}
	if r, err := readLease(got.Env.Path); err != nil || r.Owner != owner {
		t.Errorf("%+v, %v", r, err)
	}
	testkit.End(cmd)
	testkit.Soon(t, "it ends with its owner", func() bool { return !envdir.Exists(got.Env.Path) })
	gone := old.Owner
	if s, _ := gone.Look(); proc.Namespace() != proc.FirstPIDNamespace && s != proc.Unseen {
		t.Errorf("an owner that may be in another namespace is %v", s)
	}
}

// ofAnotherNamespace is an environment whose lease record a daemon in another PID namespace left in that state.
func ofAnotherNamespace(t *testing.T, cfg Config, state string) Acquired {
	t.Helper()
	m := runManager(t, cfg)
	owner, err := proc.OwnerOf(os.Getpid())
	testkit.Check(t, err)
	got, err := m.Acquire(t.Context(), Request{Pool: "uv", Wait: 10 * time.Second, Owner: owner})
	testkit.Check(t, err)
	_ = m.Stop(t.Context())
	owner.Namespace = "1+1" // of which nothing is known here
	testkit.Check(t, m.store.WriteLease(got.Env.Path,
		envdir.LeaseRecord{State: state, Lease: &envdir.Lease{Owner: owner}}))
	return got
}

func TestALeaseThatCameWithACopyIsVoid(t *testing.T) {
	cfg := sized(1)
	cfg.Dir = t.TempDir()
	if mount, _ := statedir.MountOf(cfg.Dir); !slices.Contains(append(envdir.LastingTypes, "overlay"), mount.Type) {
		t.Skipf("on %s copies cannot be told", mount.Type)
	}
	got := ofAnotherNamespace(t, cfg, envdir.LeaseHeld)
	leased := func() int {
		m := runManager(t, cfg)
		defer func() { _ = m.Stop(t.Context()) }()
		list, err := m.List(t.Context(), "", Leased)
		testkit.Check(t, err)
		return len(list)
	}
	if n := leased(); n != 1 {
		t.Errorf("%d are leased where the owner cannot be seen", n)
	}
	moved := got.Env.Path + ".moved"
	if out, err := exec.Command("sh", "-c", `mv "$1" "$2" && cp -a "$2" "$1"`, "sh", got.Env.Path,
		moved).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if n := leased(); n != 0 {
		t.Errorf("%d are leased after a copy", n)
	}
}

// A daemon in another PID namespace has released it, and ended before it saw that no process runs from it any more.
func TestWhatWasReleasedElsewhereStaysUntilItIsReleasedByHand(t *testing.T) {
	cfg := sized(1)
	cfg.Dir = t.TempDir()
	got := ofAnotherNamespace(t, cfg, envdir.LeaseReleased)
	m := runManager(t, cfg)
	list, err := m.List(t.Context(), "", Leased)
	if err != nil || len(list) != 1 || list[0].ID != got.Env.ID || !list[0].Alive ||
		list[0].Where != "in another PID namespace" {
		t.Errorf("%+v, %v", list, err)
	}
	if err := m.Release(t.Context(), got.Env.ID); err != nil {
		t.Error(err)
	}
	testkit.Soon(t, "it goes", func() bool { return !envdir.Exists(got.Env.Path) })
	_ = m.Stop(t.Context())
}
