//go:build e2e && unix

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"runtimed/internal/testkit"
	"runtimed/rpc"
)

// The kernels whose behaviour is compared, as runt starts them.
const (
	plainStart   = "kernel --no-standby -f {connection_file} -- {args}"
	standbyStart = "kernel -f {connection_file} -- {args}"
)

const (
	samePackages = "packages = [\"ipykernel\", \"ipywidgets\", \"pip\", \"numpy\", \"matplotlib\"]\n"
	fewestRows   = 63
)

// sameTool runs a tool that compares kernels, and returns what it prints.
func (h *house) sameTool(tool string, args ...string) string {
	h.t.Helper()
	python, err := frontEndPython()
	check(h.t, err)
	script, err := filepath.Abs(filepath.Join("../testdata/tools", tool))
	check(h.t, err)
	tmp := filepath.Join(filepath.Dir(h.home), "t") // short, since sockets lie in it
	check(h.t, os.MkdirAll(tmp, 0o755))
	cmd := exec.CommandContext(h.t.Context(), python, append([]string{"-B", script}, args...)...)
	cmd.Dir = h.home
	cmd.Env = append(h.env, "RUNTIMED_NO_START=1", "TMPDIR="+tmp, "LC_ALL=C.UTF-8",
		"MPLCONFIGDIR="+filepath.Join(testkit.KeptTools(h.t), "matplotlib")) // its cache takes seconds
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.t.Errorf("%s: %v\n%s", tool, err, out)
	} else {
		h.t.Logf("%s", out)
	}
	return string(out)
}

func TestAStandbyKernelBehavesAsAPlainOne(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withUV()
	h.configure("[pools.uv]\nsize = 2\n" + samePackages)
	h.start()
	h.filled("uv", 5*time.Minute)
	found, ready := filepath.Join(h.home, "rows.json"), filepath.Join(h.home, "ready")
	check(t, os.WriteFile(ready, fmt.Appendf(nil,
		"#!/bin/sh\nuntil %s rpc pool.status '{\"pool\":\"uv\"}' |\n"+
			"  grep -q '\"target\":1,\"ready\":1'; do sleep 0.05; done\n",
		runtProgram), 0o755))
	sides := []string{"--plain", runtProgram + " " + plainStart, "--standby", runtProgram + " " + standbyStart,
		"--before-standby", ready}
	h.sameTool("kernel_same.py", append(sides, "--row", "an expression")...) // the next standby knows these front-ends

	// Most rows share a kernel; those with one of their own take minutes.
	if os.Getenv("RUNTIMED_SOAK") == "" {
		sides = append(sides, "--row", "a kernel", "--row", "end: SIGKILL*")
	}
	h.sameTool("kernel_same.py", append(sides, "--json", found)...)
	var compared struct {
		Rows []struct{ Adopted []int } // how many kernels of the standby's side there were, and were adopted
	}
	data, err := os.ReadFile(found)
	if err == nil {
		err = json.Unmarshal(data, &compared)
	}
	check(t, err)
	adopted := 0
	for _, row := range compared.Rows {
		if len(row.Adopted) == 2 && row.Adopted[1] > 0 {
			adopted++
		}
	}
	if adopted < fewestRows {
		t.Errorf("of %d rows, %d had a standby", len(compared.Rows), adopted)
	}
}

func TestAPlantedDifferenceOfKernelsIsFound(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withUV()
	h.configure("[pools.uv]\nsize = 1\n" + samePackages)
	h.start()
	h.filled("uv", 5*time.Minute)
	python := h.acquire(rpc.AcquireParams{OwnerPID: new(os.Getpid())}).Env.Python
	args := []string{python + " -m ipykernel_launcher -f {connection_file} {args}"}
	if os.Getenv("RUNTIMED_SOAK") == "" {
		args = append(args, "process", "inside")
	}
	h.sameTool("kernel_same_selftest.py", args...)
}
