//go:build e2e && unix

package e2e

import (
	"slices"
	"testing"
	"time"

	"runtimed/rpc"
)

func TestASessionFindsItsEnvironmentAgainAlsoAfterAKill(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(fastUV)
	h.configure(quickly + "2\n")
	d := h.start()
	h.filled("uv", time.Minute)
	first, second := newTenantFor(t), newTenantFor(t)
	r := h.acquire(rpc.AcquireParams{OwnerPID: new(first.pid()), Session: new("a notebook")})
	if other := h.acquire(rpc.AcquireParams{OwnerPID: new(second.pid()), Session: new("a notebook")}); other.Source == rpc.SourceResumed || other.Env.ID == r.Env.ID {
		t.Errorf("two living owners have %s", r.Env.ID)
	} else {
		must[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: other.Env.ID})
	}
	first.end()
	leased := func() rpc.EnvListed {
		t.Helper()
		list := must[rpc.EnvListResult](h, rpc.MethodEnvList, rpc.EnvListParams{State: new(rpc.EnvLeased)}).Envs
		if len(list) != 1 || list[0].ID != r.Env.ID {
			t.Fatalf("leased are %+v", list)
		}
		return list[0]
	}
	h.eventually(10*time.Second, "its owner is seen to have ended", func() bool { return !leased().Lease.Alive })
	if l := leased().Lease; l.Session != "a notebook" {
		t.Errorf("%+v", l)
	}
	d.kill()
	h.start()
	again := h.acquire(rpc.AcquireParams{OwnerPID: new(second.pid()), Session: new("a notebook"), LingerMS: new(int64(500)), Label: new("again")})
	if l := leased().Lease; again.Source != rpc.SourceResumed || again.Env.ID != r.Env.ID || l.OwnerPID != second.pid() || !l.Alive || l.Label != "again" {
		t.Errorf("%+v, %+v", again, l)
	}
	second.end()
	h.eventually(5*time.Second, "it goes when it has lingered", func() bool { return !slices.Contains(h.folders(), r.Env.ID) })
}
