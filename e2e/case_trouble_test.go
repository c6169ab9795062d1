//go:build e2e && unix

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"runtimed/pool/builder"
	"runtimed/rpc"
)

func TestADiskThatTurnsReadOnlyCostsNoEnvironment(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(fastUV)
	h.tmpfs(t, h.state("envs"), "size=16m")
	h.configure(quickly + "2\n")
	h.start()
	h.filled("uv", time.Minute)
	held := h.acquire(rpc.AcquireParams{}).Env.ID
	h.filled("uv", time.Minute)
	ready := h.ids(rpc.EnvReady)
	remount := func(how string) {
		t.Helper()
		if out, err := exec.Command("mount", "-o", "remount,"+how, h.state("envs")).CombinedOutput(); err != nil {
			lacking(t, "a file system cannot be remounted here: "+string(out))
		}
	}
	remount("ro")
	c := h.dial()
	for method, params := range map[string]any{
		rpc.MethodAcquire: rpc.AcquireParams{}, rpc.MethodRelease: rpc.EnvParams{Env: held},
		rpc.MethodAdopt: rpc.AdoptParams{Env: held, OwnerPID: os.Getpid()},
	} {
		for range 3 {
			err := c.Call(t.Context(), method, params, nil)
			var e *rpc.Error
			if !errors.As(err, &e) || e.Data.Kind != rpc.KindBuildFailed || e.Data.Cause != builder.CausePermission || !strings.Contains(e.Message, "read-only") ||
				e.Data.Hint == "" {
				t.Errorf("%s: %+v", method, err)
			}
		}
	}
	if now := h.ids(rpc.EnvReady); !slices.Equal(now, ready) {
		t.Errorf("ready are %v, were %v", now, ready)
	}
	if now := h.ids(rpc.EnvLeased); !slices.Equal(now, []string{held}) {
		t.Errorf("leased are %v", now)
	}
	if said := h.logged("damaged"); len(said) > 0 {
		t.Errorf("the log says %s", said)
	}
	if said := h.logged("cannot be handed out for now"); len(said) != 1 {
		t.Errorf("the log says %s", said)
	}
	remount("rw")
	if got := h.acquire(rpc.AcquireParams{}); !slices.Contains(ready, got.Env.ID) {
		t.Errorf("got %s, and ready were %v", got.Env.ID, ready)
	}
	must[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: held})
	h.eventually(time.Minute, "what was released goes", func() bool { return !slices.Contains(h.folders(), held) })
}
