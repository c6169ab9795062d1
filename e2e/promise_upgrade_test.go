//go:build e2e && unix

package e2e

import (
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"runtimed/internal/testkit"
	"runtimed/rpc"
)

// before is the commit whose daemon is upgraded: the last one before the packages were parted.
const before = "715c75624b07fb34b838a9de4ef37c6f762951c6"

// daemonBefore is built once from the history of this clone, and kept.
func daemonBefore(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(testkit.KeptTools(t), "before-"+before[:12])
	program := filepath.Join(dir, "runtimed")
	if isThere(program) {
		return program
	}
	if exec.Command("git", "cat-file", "-e", before).Run() != nil { // a checkout without its history, in CI too
		t.Skipf("this checkout has no commit %s, whose daemon is upgraded: git fetch --unshallow", before)
	}
	build := exec.Command("sh", "-ec", `mkdir -p "$2/src"; git -C .. archive "$1" | tar -x -C "$2/src"; cd "$2/src"
		CGO_ENABLED=0 go build -buildvcs=false -o "$2/new" ./cmd/runtimed
		mv "$2/new" "$2/runtimed"; rm -r "$2/src"`, "sh", before, dir)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

func TestAnUpgradeKeepsLeasesAndThePool(t *testing.T) {
	t.Parallel()
	old := daemonBefore(t)
	for name, end := range map[string]func(*lodger){"killed": (*lodger).kill, "stopped": (*lodger).stop} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t).withStandIn(fastUV)
			h.configure(quickly + "2\n")
			h.program = old
			d := h.start()
			h.filled("uv", time.Minute)
			needs := []string{"rich"}
			session, extended, plain, passing := newTenantFor(t), newTenantFor(t), newTenantFor(t), newTenantFor(t)
			get := func(params rpc.AcquireParams, owner *tenant) rpc.AcquireResult {
				t.Helper()
				params.OwnerPID, params.WaitMS = new(owner.pid()), new(int64(60_000))
				return h.acquire(params)
			}
			more := get(rpc.AcquireParams{Packages: needs}, extended)
			if more.Source != rpc.SourceExtended {
				t.Errorf("what was asked for besides is %s", more.Source)
			}
			held := map[string]*tenant{
				get(rpc.AcquireParams{Session: new("a notebook"), Label: new("it")}, session).Env.ID: session,
				more.Env.ID:                            extended,
				get(rpc.AcquireParams{}, plain).Env.ID: plain,
			}
			gone := get(rpc.AcquireParams{}, passing).Env.ID
			listed := func() map[string]rpc.EnvListed {
				t.Helper()
				envs := map[string]rpc.EnvListed{}
				for _, e := range must[rpc.EnvListResult](h, rpc.MethodEnvList, nil).Envs {
					envs[e.ID] = e
				}
				return envs
			}
			settled := func(what string) {
				t.Helper()
				h.filled("uv", time.Minute)
				h.eventually(time.Minute, what, func() bool {
					kept := false
					for _, e := range listed() {
						kept = kept || e.State == rpc.EnvReady && slices.Equal(e.Needs, needs)
					}
					return kept
				})
			}
			settled("one is kept for who asks for the same again")
			was := listed()
			end(d)
			passing.end() // while nobody looks

			h.program = ""
			d = h.start()
			now := listed()
			for id, e := range was {
				n := now[id]
				if id != gone && (n.State != e.State || n.Pool != e.Pool || !slices.Equal(n.Needs, e.Needs) ||
					n.Python != e.Python) {
					t.Errorf("%+v is now %+v", e, n)
				}
				if owner := held[id]; owner != nil && (n.Lease == nil || n.Lease.OwnerPID != owner.pid() ||
					!n.Lease.Alive ||
					n.Lease.Session != e.Lease.Session || n.Lease.Label != e.Lease.Label ||
					!n.Lease.Since.Equal(e.Lease.Since)) {
					t.Errorf("the lease %+v is now %+v", e.Lease, n.Lease)
				}
			}
			h.eventually(20*time.Second, "what its owner left is gone",
				func() bool { return !slices.Contains(h.folders(), gone) })

			// It goes on as the old one would.
			session.end()
			h.eventually(20*time.Second, "the end of the session's owner is seen", func() bool {
				return slices.ContainsFunc(h.leases(), func(e rpc.EnvListed) bool {
					return held[e.ID] == session &&
						!e.Lease.Alive
				})
			})
			next := newTenantFor(t)
			if r := get(rpc.AcquireParams{Session: new("a notebook")}, next); r.Source != rpc.SourceResumed ||
				held[r.Env.ID] != session {
				t.Errorf("the session gets %s, %s", r.Env.ID, r.Source)
			}
			r := get(rpc.AcquireParams{Packages: needs}, next)
			if kept := was[r.Env.ID]; r.Source != rpc.SourceReady || !slices.Equal(kept.Needs, needs) ||
				kept.State != rpc.EnvReady {
				t.Errorf("of what was kept for %q there is %+v, %s", needs, r.Env, r.Source)
			}
			extended.end()
			for id := range held {
				if held[id] != extended {
					must[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: id})
				}
			}
			h.eventually(20*time.Second, "all that was leased is gone", func() bool {
				return !slices.ContainsFunc(h.folders(), func(id string) bool { return held[id] != nil })
			})
			settled("another is kept")

			// Who goes back finds the same.
			was = listed()
			d.stop()
			h.program = old
			h.start()
			for id, e := range was {
				if n := listed()[id]; n.State != e.State || e.Lease != nil && n.Lease.OwnerPID != e.Lease.OwnerPID {
					t.Errorf("%+v was %+v before the way back", n, e)
				}
			}
		})
	}
}
