//go:build e2e && unix

package e2e

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"runtimed/rpc"
)

// Each prints the environment that it gets.
const (
	followsSync = `
from runtimed_client import Client
with Client() as c:
    print(c.acquire(wait=60).path)
    assert c.status()`
	followsAsync = `
import asyncio
from runtimed_client import AsyncClient
async def main():
    async with AsyncClient() as c:
        print((await c.acquire(wait=60)).path)
asyncio.run(main())`
)

func TestWhoWaitsFollowsToTheNextDaemonWithTheSameKey(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(gated("go"))
	h.configure(quickly + "1\n")
	source, err := filepath.Abs("../clients/python/src")
	if err != nil {
		t.Fatal(err)
	}
	h.setenv("RUNTIMED_NO_START", "1") // they follow, and start none
	h.setenv("PYTHONPATH", source)
	h.setenv("PYTHONDONTWRITEBYTECODE", "1")
	clients := [][]string{
		{runtProgram, "run", "--wait", "200s", "--", "printenv", "VIRTUAL_ENV"},
		{runtProgram, "pool", "acquire", "--wait", "200s", "--json"},
		{"python3", "-c", followsSync},
		{"python3", "-c", followsAsync},
	}
	old := h.start()
	var all sync.WaitGroup
	t.Cleanup(all.Wait)
	var mu sync.Mutex
	got := map[string]string{} // what was printed, by the environment
	for _, argv := range clients {
		all.Go(func() {
			cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
			cmd.Env, cmd.Dir = h.env, h.home
			out, err := cmd.Output()
			if err != nil {
				stderr, _ := err.(*exec.ExitError)
				t.Errorf("%v: %v, %s", argv, err, stderr.Stderr)
				return
			}
			path := strings.TrimSpace(string(out))
			var r rpc.AcquireResult
			if json.Unmarshal(out, &r) == nil {
				path = r.Env.Path
			}
			mu.Lock()
			defer mu.Unlock()
			if got[path] != "" {
				t.Errorf("%v and %v both got %s", argv, got[path], path)
			}
			got[path] = argv[0]
		})
	}
	waiting := func() {
		h.eventually(time.Minute, "all wait", func() bool { return h.pool("uv").Waiting == len(clients) })
	}
	waiting()
	old.kill()
	time.Sleep(500 * time.Millisecond) // nobody is there
	next := h.start()
	waiting()
	next.signal(syscall.SIGTERM)
	next.exit(10 * time.Second)
	h.start()
	waiting()
	h.write("go", "")
	all.Wait()
	for path := range got {
		if filepath.Dir(path) != h.state("envs") {
			t.Errorf("%q is no environment", path)
		}
	}
	if given := len(got); given != len(clients) {
		t.Errorf("%d environments were given, not %d", given, len(clients))
	}
	leased := must[rpc.EnvListResult](h, rpc.MethodEnvList, rpc.EnvListParams{State: new(rpc.EnvLeased)})
	if len(leased.Envs) > len(clients) {
		t.Errorf("%d are leased for %d", len(leased.Envs), len(clients))
	}
}
