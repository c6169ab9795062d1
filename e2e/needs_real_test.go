//go:build e2e && unix

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"runtimed/pool/builder"
	"runtimed/rpc"
)

// runtEnds runs a command of runt in the house, with something to read, and returns all that can be seen of it.
func (h *house) runtEnds(stdin string, args ...string) (stdout, stderr string, code int) {
	h.t.Helper()
	var out, errs strings.Builder
	cmd := exec.Command(runtProgram, args...)
	cmd.Env, cmd.Dir = append(h.env, "RUNTIMED_NO_START=1"), h.home
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		h.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func (h *house) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.home, name), []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

func TestACommandAndAScriptGetWhatTheyNeed(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withUV()
	h.configure("[pools.uv]\nsize = 1\n")
	h.start()
	h.filled("uv", 3*time.Minute)

	got := h.acquire(rpc.AcquireParams{Packages: []string{"Iniconfig >= 2"}, Requirements: new("# as well\npython-dateutil\n"), OwnerPID: new(os.Getpid())})
	added := func(name string) bool {
		return slices.ContainsFunc(got.Added, func(p rpc.Package) bool { return p.Name == name && p.Version != "" })
	}
	if got.Source != rpc.SourceExtended || !added("iniconfig") || got.AddedMS < 1 || !slices.Equal(got.Env.Needs, []string{"iniconfig>=2", "python-dateutil"}) {
		t.Errorf("source %s, added %v in %d ms, needs %q", got.Source, got.Added, got.AddedMS, got.Env.Needs)
	}
	if out, err := exec.Command(got.Env.Python, "-c", "import iniconfig, ipykernel").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}

	h.write("script.py", `#!/usr/bin/env python
# /// script
# requires-python = ">=3.9"
# dependencies = ["iniconfig>=2"]
# ///
import iniconfig, os, sys
print(sys.argv, os.getcwd(), sys.stdin.read(), sys.prefix)
sys.exit(9)
`)
	home, err := filepath.EvalSymlinks(h.home)
	if err != nil {
		t.Fatal(err)
	}
	out, errs, code := h.runtEnds("what it reads", "run", "script.py", "--with", "x")
	if want := "['script.py', '--with', 'x'] " + home + " what it reads " + h.state("envs"); !strings.HasPrefix(out, want) || code != 9 || errs != "" {
		t.Errorf("exit %d, %q %q, want %q", code, out, errs, want)
	}
	h.write("plain.py", "import sys; print(sys.argv)\n")
	if out, errs, code := h.runtEnds("", "run", "--", "./plain.py", "a"); out != "['./plain.py', 'a']\n" || code != 0 || errs != "" {
		t.Errorf("exit %d, %q %q", code, out, errs)
	}
	if out, errs, code := h.runtEnds("iniconfig==2.0.0  # this one\n", "run", "--with-requirements", "-", "--", "python", "-c",
		"import importlib.metadata as m; print(m.version('iniconfig'))"); out != "2.0.0\n" || code != 0 {
		t.Errorf("exit %d, %q %q", code, out, errs)
	}
}

func TestNeedsThatCannotBeMetAreTrueErrors(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withUV()
	h.configure("[pools.uv]\nsize = 1\n[conda]\nprovider = \"micromamba\"\npath = \"/nowhere/micromamba\"\n[pools.snakes]\nkind = \"conda\"\nsize = 1\n")
	h.start()
	h.filled("uv", 3*time.Minute)
	before := h.folders()
	python, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
	if err != nil {
		t.Fatal(err)
	}
	path := strings.TrimSpace(string(python))
	for name, c := range map[string]struct {
		p    rpc.AcquireParams
		kind string
		what string // the cause, or the param
	}{
		"unknown package": {rpc.AcquireParams{Packages: []string{"no-such-package-of-runtimed"}}, rpc.KindBuildFailed, builder.CausePackageNotFound},
		"conflict":        {rpc.AcquireParams{Packages: []string{"iniconfig==2.0.0", "iniconfig==1.1.1"}}, rpc.KindBuildFailed, builder.CauseUnsatisfiable},
		"with the pool":   {rpc.AcquireParams{Packages: []string{"ipykernel<1"}}, rpc.KindBuildFailed, builder.CauseUnsatisfiable},
		"bad marker":      {rpc.AcquireParams{Packages: []string{"iniconfig; nonsense"}}, rpc.KindBuildFailed, ""},
		"no such Python":  {rpc.AcquireParams{Python: new("3.99")}, rpc.KindBuildFailed, builder.CausePythonMissing},
		"no Python there": {rpc.AcquireParams{Python: new("/nowhere/python")}, rpc.KindBuildFailed, builder.CausePythonMissing},
		"another Python": {rpc.AcquireParams{Python: &path, Script: new("# /// script\n# requires-python = '>=3.98'\n# ///\n")},
			rpc.KindBuildFailed, builder.CausePythonMissing},
		"a conda pool": {rpc.AcquireParams{Pool: new("snakes"), Packages: []string{"iniconfig"}}, rpc.KindInvalidParams, "packages"},
		"an option":    {rpc.AcquireParams{Requirements: new("-e .\n")}, rpc.KindInvalidParams, "requirements"},
	} {
		c.p.OwnerPID = new(os.Getpid())
		_, err := ask[rpc.AcquireResult](h, rpc.MethodAcquire, c.p)
		var e *rpc.Error
		if !errors.As(err, &e) || e.Data.Kind != c.kind || c.what != "" && c.what != e.Data.Cause+e.Data.Param || e.Data.Hint == "" {
			t.Errorf("%s: %#v", name, err)
		}
	}
	if s := h.pool("uv"); s.Available != 1 || s.Error != nil || !slices.Equal(before, h.folders()) {
		t.Errorf("%+v, %q then and %q now", s, before, h.folders())
	}
	got := h.acquire(rpc.AcquireParams{Python: &path, OwnerPID: new(os.Getpid())})
	base := func(python string) string {
		out, err := exec.Command(python, "-c", "import os, sys; print(os.path.realpath(sys.base_prefix))").Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if base(got.Env.Python) != base(path) {
		t.Errorf("%s is made with %s, not %s", got.Env.ID, base(got.Env.Python), base(path))
	}
	out, errs, code := h.runtEnds("", "run", "--with", "no-such-package-of-runtimed", "--", "true")
	if code != 6 || out != "" || !strings.Contains(errs, "runt: error: ") || !strings.Contains(errs, "runt: hint: ") {
		t.Errorf("exit %d, %q %q", code, out, errs)
	}
}
