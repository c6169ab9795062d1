//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"runtimed/internal/statedir"
	"runtimed/rpc"
)

func TestWhoeverStartsTheDaemonTheEnvironmentsHaveTheSamePython(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure("[pools.uv]\nsize = 1\npackages = [\"ipykernel\"]\n")
	usual, err := filepath.EvalSymlinks("/usr/bin/python3")
	if err != nil {
		lacking(t, "there is no /usr/bin/python3, where every daemon looks")
	}
	theirs := filepath.Join(h.home, "theirs", "bin") // such a copy is a Python that only PATH leads to
	other := filepath.Join(theirs, filepath.Base(usual))
	check(t, os.MkdirAll(theirs, 0o755))
	if out, err := exec.Command("cp", usual, other).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	uv, err := realUV()
	check(t, err)
	version, err := exec.Command(usual, "-c", "import platform; print(platform.python_version(), end='')").Output()
	check(t, err)

	// made is the folder of the Python that a daemon with this PATH makes an environment with.
	made := func(path string) string {
		t.Helper()
		h.setenv("PATH", uv+":"+path)
		d := h.start()
		defer d.kill()
		h.filled("uv", 3*time.Minute)
		h.acquire(rpc.AcquireParams{OwnerPID: new(os.Getpid())})
		h.filled("uv", time.Minute)
		envs := must[rpc.EnvListResult](h, rpc.MethodEnvList, rpc.EnvListParams{State: new(rpc.EnvReady)}).Envs
		if len(envs) != 1 {
			t.Fatalf("ready are %+v", envs)
		}
		base, err := os.Readlink(envs[0].Python)
		check(t, err)
		if p, ok := statedir.ChosenPython(h.state()); !ok || filepath.Dir(p.Path) != filepath.Dir(base) ||
			p.Version != string(version) {
			t.Errorf("an environment is made with %s, and %+v is chosen", base, p)
		}
		return filepath.Dir(base)
	}
	shown := func(path string) {
		t.Helper()
		want := "# default; " + string(version) + " (" + path
		if got := h.runt("config", "show"); !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
	for _, path := range []string{theirs, "/usr/bin"} {
		if got := made(path); got != "/usr/bin" {
			t.Errorf("with the PATH %s it is in %s", path, got)
		}
		shown("/usr/bin/")
	}

	chosen, err := json.Marshal(statedir.Python{Path: other, Version: string(version)})
	check(t, errors.Join(err, os.WriteFile(statedir.PythonFile(h.state()), chosen, 0o600)))
	if got := made("/usr/bin"); got != theirs {
		t.Errorf("where another was chosen it is in %s", got)
	}
	shown(theirs)
	check(t, os.Remove(statedir.PythonFile(h.state()))) // as an earlier version leaves it
	if got := made("/usr/bin"); got != theirs {
		t.Errorf("where a ready environment has another it is in %s", got)
	}
	check(t, os.RemoveAll(theirs))
	if got := made("/usr/bin"); got != "/usr/bin" {
		t.Errorf("once that is gone it is in %s", got)
	}
	shown("/usr/bin/")
}
