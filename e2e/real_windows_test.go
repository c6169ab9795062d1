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

// TestWindowsTheFirstCommandStartsADaemonThatKeepsRealEnvironments runs the machine's uv and CPython, and the index.
func TestWindowsTheFirstCommandStartsADaemonThatKeepsRealEnvironments(t *testing.T) {
	h := newHouse(t)
	h.configure("[build]\nmin_free = \"1MB\"\n[pools.uv]\nsize = 1\npackages = [\"ipykernel\"]\n")
	began := time.Now()
	first := h.try("pool", "acquire", "--wait", "5m", "--owner-pid", pidText())
	t.Logf("the first environment of a new machine took %.1f s", time.Since(began).Seconds())
	python := strings.TrimSpace(first.out)
	if first.code != 0 || first.err != "" || !filepath.IsAbs(python) {
		t.Fatalf("%+v", first)
	}
	s := ran(t, h.env, "", python, "-c", "import ipykernel; print(ipykernel.__version__)")
	if !strings.HasPrefix(s.out, "7.") || s.code != 0 || s.err != "" {
		t.Errorf("%+v", s)
	}
	id := filepath.Base(filepath.Dir(filepath.Dir(python)))

	h.filled("uv", 5*time.Minute)
	var status rpc.StatusResult
	check(t, json.Unmarshal([]byte(h.runt("pool", "status", "--json", "uv")), &status))
	if p := status.Pools[0]; p.Available != 1 || p.Leased != 1 || p.State != rpc.PoolReady || p.Error != nil {
		t.Errorf("%+v", p)
	}
	if text := h.runt("pool", "status"); !strings.Contains(text, "Available: 1") {
		t.Error(text)
	}

	t.Run("and runs a command in one as if it were there alone", func(t *testing.T) {
		h := h.of(t)
		s := h.tryWith("in\r\nput ä中", append([]string{"run", "--", "python", "-c", tellsAll}, strange...)...)
		if s.code != 3 || s.err != "" {
			t.Fatalf("%+v", s)
		}
		var told struct {
			Args           []string
			Input, Version string
			Prefix         string
		}
		check(t, json.Unmarshal([]byte(s.out), &told))
		if !slices.Equal(told.Args, strange) {
			t.Errorf("the arguments were %q", told.Args)
		}
		if told.Input != "in\r\nput ä中" || told.Version == "" {
			t.Errorf("%+v", told)
		}
		if !strings.HasPrefix(strings.ToLower(told.Prefix), strings.ToLower(h.state("envs"))) {
			t.Errorf("it ran in %s", told.Prefix)
		}
	})

	h.eventually(time.Minute, "the environment of the command is given back", func() bool {
		return h.pool("uv").Leased == 1
	})
	if s := h.runt("pool", "release", id); !strings.Contains(s, "released "+id) {
		t.Error(s)
	}
	h.runt("daemon", "stop")
}

// tellsAll is a Python that tells what it was given.
const tellsAll = `import json, sys, ipykernel
print(json.dumps({"args": sys.argv[1:], "input": sys.stdin.buffer.read().decode(), "version": ipykernel.__version__,
    "prefix": sys.prefix}))
sys.exit(3)`

// strange are arguments that a command line on Windows spells in its own way.
var strange = []string{"two words", "", `a"quote"`, `ends with \`, `back\\"slash`, `\\server\share`, `a\"b c\\`, "%PATH%",
	"100%", "^caret^ & | < >", "ä", "中文", "😀", "'single'", "tab\there", "*.py", "--", "!bang!", "line\nline"}
