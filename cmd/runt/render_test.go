package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"runtimed/pool/builder"
	"runtimed/rpc"
)

func TestStatusText(t *testing.T) {
	uv := rpc.PoolStatus{Name: "uv", Kind: "uv", Target: 3, Available: 3, State: rpc.PoolReady}
	conda := rpc.PoolStatus{Name: "conda", Kind: "conda", Target: 3, Available: 2, Warming: 1, State: rpc.PoolWarming}
	off := rpc.PoolStatus{Name: "conda", Kind: "conda", State: rpc.PoolOff}
	data := rpc.PoolStatus{Name: "data", Kind: "uv", Target: 1, Leased: 4, State: rpc.PoolFailing,
		Error: &rpc.PoolError{
			Cause: builder.CausePackageNotFound, Message: "the package nosuch was not found",
			Hint: "correct pools.data.packages", Package: "nosuch",
			Output: "one\ntwo\n\x1b[31mthree\x1b[0m\nfour\n", Failures: 3, NextRetryMS: 44_001,
		}}
	trying := data
	trying.Error = &rpc.PoolError{Message: "it failed", Failures: 1}
	for _, tt := range []struct {
		name  string
		pools []rpc.PoolStatus
		want  string
	}{
		{"all well", []rpc.PoolStatus{uv, conda}, `
Pool Daemon Status
==================
UV environments:
  Available: 3
  Warming:   0
Conda environments:
  Available: 2
  Warming:   1
`}, {"off, and a named pool that fails", []rpc.PoolStatus{off, data}, `
Pool Daemon Status
==================
Conda environments:
  Off
data environments (uv):
  Available: 0
  Warming:   0
  Failing:   the package nosuch was not found
             | two
             | \x1b[31mthree\x1b[0m
             | four
  Hint:      correct pools.data.packages
  Next try:  in 45s (failed 3 times in a row)
`}, {"a try is on", []rpc.PoolStatus{trying}, `
Pool Daemon Status
==================
data environments (uv):
  Available: 0
  Warming:   0
  Failing:   it failed
  Next try:  now
`}} {
		var b strings.Builder
		writeStatus(&b, tt.pools, false)
		if diff := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), b.String()); diff != "" {
			t.Errorf("%s:\n%s", tt.name, diff)
		}
	}
}

func TestStandbysAreToldToWhoAsksForMore(t *testing.T) {
	uv := rpc.PoolStatus{Name: "uv", Kind: "uv", Target: 3, Available: 3,
		Standby: rpc.StandbyStatus{Target: 1, Ready: 1}}
	conda := rpc.PoolStatus{Name: "conda", Kind: "conda", Target: 3, Available: 3}
	data := rpc.PoolStatus{Name: "data", Kind: "uv", Target: 2, Available: 2, Standby: rpc.StandbyStatus{
		Target: 2, Why: "only 300 MiB of memory are free\x1b[2J",
		Warnings: []string{"nunpy cannot be imported: ModuleNotFoundError: No module named 'nunpy'"},
	}}
	off := rpc.PoolStatus{Name: "r", Kind: "uv", Standby: rpc.StandbyStatus{Warnings: []string{"never told"}}}
	var b strings.Builder
	writeStatus(&b, []rpc.PoolStatus{uv, conda, data, off}, true)
	const want = `
Pool Daemon Status
==================
UV environments:
  Available: 3
  Warming:   0
  Standby:   1 of 1 ready
Conda environments:
  Available: 3
  Warming:   0
  Standby:   off
data environments (uv):
  Available: 2
  Warming:   0
  Standby:   0 of 2 ready: only 300 MiB of memory are free\x1b[2J
  Preload:   nunpy cannot be imported: ModuleNotFoundError: No module named 'nunpy'
r environments (uv):
  Off
`
	if diff := cmp.Diff(want[1:], b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestEnvTable(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	env := rpc.Env{ID: "uv-00000001", Pool: "uv", PythonVersion: "3.12.1", State: rpc.EnvLeased,
		CreatedAt: now.Add(-90 * time.Minute)}
	size := func(n int64) *int64 { return &n }
	until := time.Date(2026, 1, 2, 15, 4, 5, 0, time.Local).UTC()
	var b strings.Builder
	writeEnvs(&b, []rpc.EnvListed{
		{Env: env, SizeBytes: size(84 << 20), Lease: &rpc.Lease{OwnerPID: 12, Alive: true, Label: "a note"}},
		{Env: rpc.Env{ID: "data-00000002", Pool: "data", State: rpc.EnvWarming, CreatedAt: now}, SizeBytes: size(17)},
		{Env: env, SizeBytes: size(5 << 40), Lease: &rpc.Lease{OwnerPID: 13}},
		{Env: env, Lease: &rpc.Lease{OwnerPID: 13, Label: "a.ipynb", KeptUntil: &until}},
		{Env: env, Lease: &rpc.Lease{OwnerPID: 13, Alive: true, KeptUntil: &until}},
	}, now)
	want := `
ID             POOL  STATE    PYTHON  SIZE      AGE  LEASED TO
uv-00000001    uv    leased   3.12.1  84.0 MiB  1h   pid 12 (a note)
data-00000002  data  warming  -       -         -    -
uv-00000001    uv    leased   3.12.1  5.0 TiB   1h   pid 13, gone
uv-00000001    uv    leased   3.12.1  -         1h   kept for a restart until 15:04:05 (a.ipynb)
uv-00000001    uv    leased   3.12.1  -         1h   pid 13
`
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 59 * time.Second: "59s", time.Minute: "1m", 47 * time.Hour: "47h",
		72 * time.Hour: "3d",
	} {
		if got := age(d); got != want {
			t.Errorf("%s: got %s, want %s", d, got, want)
		}
	}
}

func TestAnAgeThatIsNotKnownIsADash(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for want, at := range map[string]time.Time{"-": {}, "1h": now.Add(-time.Hour), "0s": now.Add(time.Second),
		"2d": now.Add(-49 * time.Hour)} {
		if got := ageSince(at, now); got != want {
			t.Errorf("%s is %s, not %s", at, got, want)
		}
	}
	for _, at := range []time.Time{time.Unix(0, 0), now.Add(time.Hour), now.AddDate(80, 0, 0)} {
		if got := ageSince(at, now); got != "-" {
			t.Errorf("%s is %s", at, got)
		}
	}
}
