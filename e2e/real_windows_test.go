//go:build e2e

package e2e

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"runtimed/rpc"
)

// TestWindowsACommandRunsInARealEnvironmentAsIfItWereAlone has the machine's uv and CPython, and the index.
func TestWindowsACommandRunsInARealEnvironmentAsIfItWereAlone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure("[build]\nmin_free = \"1MB\"\n[pools.uv]\nsize = 1\npackages = [\"ipykernel\"]\n")
	began := time.Now()
	filled := h.try("pool", "fill", "--wait")
	if filled.code != 0 || filled.out != "uv: 1 of 1 ready\n" ||
		filled.err != "runt: uv: 0 of 1 ready\nrunt: uv: 1 of 1 ready\n" {
		t.Fatalf("%+v", filled)
	}
	t.Logf("the first environment of a new machine took %.1f s", time.Since(began).Seconds())
	var status rpc.StatusResult
	check(t, json.Unmarshal([]byte(h.runt("pool", "status", "--json", "uv")), &status))
	if p := status.Pools[0]; p.Available != 1 || p.State != rpc.PoolReady || p.Error != nil {
		t.Errorf("%+v", p)
	}
	if text := h.runt("pool", "status"); !strings.Contains(text, "Available: 1") {
		t.Error(text)
	}

	s := h.tryWith("in\r\nput ä中", append([]string{"run", "--", "python", "-c", tellsAll}, strange...)...)
	var told struct {
		Args                   []string
		Input, Version, Prefix string
	}
	if err := json.Unmarshal([]byte(s.out), &told); err != nil || s.code != 3 || s.err != "" {
		t.Fatalf("%+v", s)
	}
	if !slices.Equal(told.Args, strange) {
		t.Errorf("the arguments were %q", told.Args)
	}
	if told.Input != "in\r\nput ä中" || told.Version == "" {
		t.Errorf("%+v", told)
	}
	if dir := filepath.Dir(told.Prefix); !strings.EqualFold(dir, h.state("envs")) {
		t.Errorf("it ran in %s", told.Prefix)
	}
	h.runt("daemon", "stop")
	h.loggedNoFault()
}

// tellsAll is a Python that tells what it was given.
const tellsAll = `import json, sys, ipykernel
print(json.dumps({"args": sys.argv[1:], "input": sys.stdin.buffer.read().decode(), "version": ipykernel.__version__,
    "prefix": sys.prefix}))
sys.exit(3)`

// strange are arguments that a command line on Windows spells in its own way.
var strange = []string{"two words", "", `a"quote"`, `ends with \`, `back\\"slash`, `\\server\share`, `a\"b c\\`,
	"%PATH%", "100%", "^caret^ & | < >", "ä", "中文", "😀", "'single'", "tab\there", "*.py", "--", "!bang!", "line\nline"}
