//go:build e2e && unix

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"runtimed/rpc"
)

// A stand-in for uv tells which of the variables reach it that would lead it elsewhere.
func TestWhatIsInstalledFromWithinGoesIntoTheEnvironment(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(fastUV)
	h.configure(quickly + "1\n")
	h.start()
	h.filled("uv", time.Minute)
	names := []string{"UV_SYSTEM_PYTHON", "UV_PYTHON", "PIP_TARGET", "PIP_USER", "PIP_PREFIX", "PIP_ROOT", "PIP_PYTHON"}
	for _, name := range names {
		h.setenv(name, "1")
	}
	h.setenv("UV_INDEX", "https://index.test") // from where, and not where to
	got := h.runt("run", "--", "/bin/sh", "-c", "env; echo within $VIRTUAL_ENV")
	for _, name := range names {
		if strings.Contains("\n"+got, "\n"+name+"=") {
			t.Errorf("the command gets %s", name)
		}
	}
	if !strings.Contains(got, "UV_INDEX=https://index.test") || !strings.Contains(got, "within "+h.state("envs")+string(filepath.Separator)) {
		t.Errorf("the command lacks what is its own: %s", got)
	}
}

func TestAScriptWhoseMetadataAreLeftOpenIsNamedWithItsLine(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(fastUV)
	h.configure(quickly + "1\n")
	h.start()
	script := filepath.Join(h.home, "s.py")
	if err := os.WriteFile(script, []byte("#!/usr/bin/python\n# /// script\n# dependencies = ['six']\n\nimport six\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := h.runtEnds("", "run", script)
	if want := "runt: error: line 2 of the script begins a block of metadata, and there is no line # /// that ends it\n"; code != 2 || !strings.HasPrefix(stderr, want) {
		t.Errorf("%d: %s", code, stderr)
	}
	if len(must[rpc.EnvListResult](h, rpc.MethodEnvList, rpc.EnvListParams{State: new(rpc.EnvLeased)}).Envs) > 0 {
		t.Error("it leased an environment")
	}
}
