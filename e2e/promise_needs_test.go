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
	check(h.t, os.WriteFile(filepath.Join(h.home, name), []byte(text), 0o644))
}

func TestACommandAndAScriptGetWhatTheyNeed(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withUV()
	h.configure("[pools.uv]\nsize = 1\n")
	h.start()
	h.filled("uv", 3*time.Minute)

	got := h.acquire(rpc.AcquireParams{Packages: []string{"Iniconfig >= 2"},
		Requirements: new("# as well\npython-dateutil\n"), OwnerPID: new(os.Getpid())})
	added := func(name string) bool {
		return slices.ContainsFunc(got.Added, func(p rpc.Package) bool { return p.Name == name && p.Version != "" })
	}
	if got.Source != rpc.SourceExtended || !added("iniconfig") || got.AddedMS < 1 ||
		!slices.Equal(got.Env.Needs, []string{"iniconfig>=2", "python-dateutil"}) {
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
	check(t, err)
	out, errs, code := h.runtEnds("what it reads", "run", "script.py", "--with", "x")
	if want := "['script.py', '--with', 'x'] " + home + " what it reads " +
		h.state("envs"); !strings.HasPrefix(out, want) || code != 9 || errs != "" {
		t.Errorf("exit %d, %q %q, want %q", code, out, errs, want)
	}
	h.write("plain.py", "import sys; print(sys.argv)\n")
	if out, errs, code := h.runtEnds("", "run", "--", "./plain.py", "a"); out != "['./plain.py', 'a']\n" || code != 0 ||
		errs != "" {
		t.Errorf("exit %d, %q %q", code, out, errs)
	}
	if out, errs, code := h.runtEnds("iniconfig==2.0.0  # this one\n", "run", "--with-requirements", "-", "--",
		"python", "-c",
		"import importlib.metadata as m; print(m.version('iniconfig'))"); out != "2.0.0\n" || code != 0 {
		t.Errorf("exit %d, %q %q", code, out, errs)
	}
}

func TestNeedsThatCannotBeMetAreTrueErrors(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withUV()
	h.configure("[pools.uv]\nsize = 1\n[conda]\nprovider = \"micromamba\"\npath = \"/nowhere/micromamba\"\n" +
		"[pools.snakes]\nkind = \"conda\"\nsize = 1\n")
	h.start()
	h.filled("uv", 3*time.Minute)
	before := h.folders()
	python, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
	check(t, err)
	path := strings.TrimSpace(string(python))
	for name, c := range map[string]struct {
		p    rpc.AcquireParams
		kind string
		what string // the cause, or the param
	}{
		"unknown package": {rpc.AcquireParams{Packages: []string{"no-such-package-of-runtimed"}}, rpc.KindBuildFailed,
			builder.CausePackageNotFound},
		"conflict": {rpc.AcquireParams{Packages: []string{"iniconfig==2.0.0", "iniconfig==1.1.1"}},
			rpc.KindBuildFailed, builder.CauseUnsatisfiable},
		"with the pool": {rpc.AcquireParams{Packages: []string{"ipykernel<1"}}, rpc.KindBuildFailed,
			builder.CauseUnsatisfiable},
		"bad marker":     {rpc.AcquireParams{Packages: []string{"iniconfig; nonsense"}}, rpc.KindBuildFailed, ""},
		"no such Python": {rpc.AcquireParams{Python: new("3.99")}, rpc.KindBuildFailed, builder.CausePythonMissing},
		"no Python there": {rpc.AcquireParams{Python: new("/nowhere/python")}, rpc.KindBuildFailed,
			builder.CausePythonMissing},
		"another Python": {rpc.AcquireParams{Python: &path,
			Script: new("# /// script\n# requires-python = '>=3.98'\n# ///\n")},
			rpc.KindBuildFailed, builder.CausePythonMissing},
		"a conda pool": {rpc.AcquireParams{Pool: new("snakes"), Python: &path}, rpc.KindInvalidParams, "pool"},
		"an option":    {rpc.AcquireParams{Requirements: new("-e .\n")}, rpc.KindInvalidParams, "requirements"},
	} {
		c.p.OwnerPID = new(os.Getpid())
		_, err := ask[rpc.AcquireResult](h, rpc.MethodAcquire, c.p)
		var e *rpc.Error
		if !errors.As(err, &e) || e.Data.Kind != c.kind || c.what != "" && c.what != e.Data.Cause+e.Data.Param ||
			e.Data.Hint == "" {
			t.Errorf("%s: %#v", name, err)
		}
	}
	if s := h.pool("uv"); s.Available != 1 || s.Error != nil || !slices.Equal(before, h.folders()) {
		t.Errorf("%+v, %q then and %q now", s, before, h.folders())
	}
	got := h.acquire(rpc.AcquireParams{Python: &path, OwnerPID: new(os.Getpid())})
	base := func(python string) string {
		out, err := exec.Command(python, "-c", "import os, sys; print(os.path.realpath(sys.base_prefix))").Output()
		check(t, err)
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

// hangsFor has fastUV hang in a resolution in which a package of that name is, with a child in a session of its own: as
// an sdist does whose setup.py sleeps.
func hangsFor(name string) string {
	return at("'pip compile'", `for in; do case $in in *.in) break ;; esac; done
grep -q `+name+` "$in" && { trap '' TERM; setsid sh -c 'trap "" TERM; sleep 88.25' & sleep 88.25; }`)
}

func TestABuildThatHangsEndsWithItsCallerAndKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(hangsFor("sleeper"))
	h.configure("[build]\nparallel = 1\nmin_free = \"1MB\"\n[pools.uv]\nsize = 1\n")
	h.start()
	h.filled("uv", time.Minute)
	owner := newTenantFor(t)
	need := func(name string, wait int64) rpc.AcquireParams {
		return rpc.AcquireParams{Packages: []string{name}, OwnerPID: new(owner.pid()), WaitMS: &wait}
	}
	// waits asks on a connection of its own until hangUp is called.
	waits := func() (hangUp func()) {
		c, done := h.dial(), make(chan struct{})
		go func() {
			_ = c.Call(t.Context(), rpc.MethodAcquire, need("sleeper", 120_000), new(rpc.AcquireResult))
			close(done)
		}()
		return func() { _ = c.Close(); <-done }
	}
	firstLeaves := waits()
	h.eventually(time.Minute, "it hangs", func() bool { return len(marked(h.home)) >= 3 })
	h.acquire(need("rich", 60_000)) // while that one hangs
	h.filled("uv", time.Minute)     // the pool itself, too

	lastLeaves := waits() // the same needs: it joins, and keeps the build alive
	h.eventually(time.Minute, "two wait", func() bool {
		return len(must[rpc.EnvListResult](h, rpc.MethodEnvList,
			rpc.EnvListParams{State: new(rpc.EnvWarming)}).Envs) == 2
	})
	firstLeaves()
	if _, err := ask[rpc.AcquireResult](h, rpc.MethodAcquire, need("sleeper", 1)); err == nil ||
		!strings.Contains(err.Error(), "within") {
		t.Errorf("out of time: %v", err)
	}
	if len(marked(h.home)) < 3 {
		t.Error("the build ended, though somebody waits for it")
	}
	lastLeaves()
	h.eventually(30*time.Second, "its processes are ended", func() bool { return len(marked(h.home)) == 0 })
	h.eventually(30*time.Second, "it is not begun again", func() bool {
		return len(must[rpc.EnvListResult](h, rpc.MethodEnvList,
			rpc.EnvListParams{State: new(rpc.EnvWarming)}).Envs) == 0
	})
}

// A stand-in for uv tells which of the variables reach it that would lead it elsewhere.
func TestWhatIsInstalledFromWithinGoesIntoTheEnvironment(t *testing.T) {
	t.Parallel()
	h, _ := warmHouse(t, fastUV, 1)
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
	if !strings.Contains(got, "UV_INDEX=https://index.test") ||
		!strings.Contains(got, "within "+h.state("envs")+string(filepath.Separator)) {
		t.Errorf("the command lacks what is its own: %s", got)
	}
}

func TestAScriptWhoseMetadataAreLeftOpenIsNamedWithItsLine(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(fastUV)
	h.configure(quickly + "1\n")
	h.start()
	script := filepath.Join(h.home, "s.py")
	check(t, os.WriteFile(script, []byte("#!/usr/bin/python\n# /// script\n# dependencies = ['six']\n\nimport six\n"),
		0o600))
	_, stderr, code := h.runtEnds("", "run", script)
	want := "runt: error: line 2 of the script begins a block of metadata, and there is no line # /// that ends it\n"
	if code != 2 || !strings.HasPrefix(stderr, want) {
		t.Errorf("%d: %s", code, stderr)
	}
	if len(must[rpc.EnvListResult](h, rpc.MethodEnvList, rpc.EnvListParams{State: new(rpc.EnvLeased)}).Envs) > 0 {
		t.Error("it leased an environment")
	}
}
