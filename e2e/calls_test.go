//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"time"

	"runtimed/rpc"
)

// quickly is a configuration for tests with a stand-in for uv, up to the size of the pool uv.
const quickly = "[build]\nparallel = 2\nmin_free = \"1MB\"\n[pools.uv]\nsize = "

const off = "[pools.uv]\nsize = 0\n"

func (h *house) dial() *rpc.Client {
	h.t.Helper()
	c, err := rpc.Dial(h.t.Context(), h.socket, rpc.ClientOptions{})
	check(h.t, err)
	h.t.Cleanup(func() { _ = c.Close() })
	return c
}

// ask calls a method on a connection of its own.
func ask[R any](h *house, method string, params any) (R, error) {
	var r R
	c, err := rpc.Dial(context.Background(), h.socket, rpc.ClientOptions{})
	if err != nil {
		return r, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	return r, c.Call(ctx, method, params, &r)
}

func must[R any](h *house, method string, params any) R {
	h.t.Helper()
	r, err := ask[R](h, method, params)
	if err != nil {
		h.t.Fatalf("%s: %v", method, err)
	}
	return r
}

func (h *house) pool(name string) rpc.PoolStatus {
	h.t.Helper()
	return must[rpc.StatusResult](h, rpc.MethodStatus, rpc.PoolParams{Pool: &name}).Pools[0]
}

// filled waits until the pool is, or fails with its error.
func (h *house) filled(name string, within time.Duration) {
	h.t.Helper()
	h.eventually(within, "pool "+name+" is filled", func() bool {
		s := h.pool(name)
		if s.Error != nil {
			h.t.Fatalf("the pool %s fails: %s: %s\n%s", name, s.Error.Cause, s.Error.Message, s.Error.Output)
		}
		return s.Available >= s.Target && s.Warming == 0
	})
}

func (h *house) acquire(p rpc.AcquireParams) rpc.AcquireResult {
	h.t.Helper()
	return must[rpc.AcquireResult](h, rpc.MethodAcquire, p)
}

func (h *house) eventually(within time.Duration, what string, f func() bool) {
	h.t.Helper()
	for end := time.Now().Add(within); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatalf("not within %s: %s", within, what)
		}
	}
}

// folders are the environments on disk.
func (h *house) folders() []string {
	h.t.Helper()
	entries, err := os.ReadDir(h.state("envs"))
	check(h.t, err)
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}

func (h *house) statusFile() (s struct {
	Endpoint string
	PID      int
}) {
	h.t.Helper()
	data, err := os.ReadFile(h.state("daemon.json"))
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	check(h.t, err)
	return s
}

func isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
