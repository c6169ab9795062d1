//go:build e2e && unix

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"runtimed/pool/builder"
	"runtimed/rpc"
)

// kernel runs cells in the kernel of env, with the Python of another environment at the other end, and returns what
// they answer.
func kernel(t *testing.T, env, other rpc.Env, cells ...string) string {
	t.Helper()
	cmd := exec.Command(other.Python, append([]string{"../testdata/tools/kernel_check.py", env.Python}, cells...)...)
	cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=" + strings.Join(append(env.PathPrepend, "/usr/bin:/bin"), ":")}
	for name, value := range env.Variables {
		if value != nil {
			cmd.Env = append(cmd.Env, name+"="+*value)
		}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the kernel of %s: %v\n%s", env.ID, err, out)
	}
	return string(out)
}

func TestANewcomerWithoutUVGetsAKernelThatAnswers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure("[pools.uv]\nsize = 2\n")
	h.start()
	h.filled("uv", 3*time.Minute)

	env := h.acquire(rpc.AcquireParams{Label: new("newcomer"), OwnerPID: new(os.Getpid())})
	other := h.acquire(rpc.AcquireParams{WaitMS: new(int64(120_000)), OwnerPID: new(os.Getpid())})
	if env.Source != rpc.SourceReady || env.Stale || env.Env.State != rpc.EnvLeased {
		t.Errorf("acquired from a full pool: %+v", env)
	}
	said := kernel(t, env.Env, other.Env, "1+1", "import ipywidgets", "import sys; sys.prefix", "%pip --version")
	for _, want := range []string{"1+1 -> 2", "import ipywidgets -> ok", env.Env.Path, "from " + env.Env.Path} {
		if !strings.Contains(said, want) {
			t.Errorf("the kernel did not say %q:\n%s", want, said)
		}
	}
	for _, script := range []string{"pip", "ipython", "jupyter"} {
		if out, err := exec.Command(filepath.Join(env.Env.Path, "bin", script),
			"--version").CombinedOutput(); err != nil {
			t.Errorf("bin/%s: %v: %s", script, err, out)
		}
	}

	must[rpc.None](h, rpc.MethodRelease, rpc.EnvParams{Env: env.Env.ID})
	h.eventually(15*time.Second, "the released environment is gone", func() bool {
		_, err := os.Stat(env.Env.Path)
		return os.IsNotExist(err)
	})
	h.filled("uv", time.Minute)
	if _, err := ask[rpc.None](h, rpc.MethodRelease,
		rpc.EnvParams{Env: env.Env.ID}); rpc.KindOf(err) != rpc.KindUnknownEnv {
		t.Errorf("released twice: %v", err)
	}
	if _, err := os.Stat(h.state("tools")); err != nil {
		t.Error(err)
	}
}

func TestAKernelStartsWithoutCompilingAnything(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withUV()
	h.configure("[pools.uv]\nsize = 2\npreload = [\"pygments.lexers.rust\"]\n")
	h.start()
	h.filled("uv", 3*time.Minute)
	env, other := h.acquire(rpc.AcquireParams{OwnerPID: new(os.Getpid())}),
		h.acquire(rpc.AcquireParams{OwnerPID: new(os.Getpid())})
	for _, path := range []string{env.Env.Path, other.Env.Path} {
		before := compiled(t, path)
		kernel(t, env.Env, other.Env, "1+1", "import ipywidgets, pygments.lexers.rust")
		for path := range compiled(t, path) {
			if !before[path] {
				t.Errorf("the kernel had to compile %s", path)
			}
		}
		env, other = other, env
	}
}

func compiled(t *testing.T, dir string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if strings.HasSuffix(path, ".pyc") {
			found[path] = true
		}
		return err
	})
	check(t, err)
	return found
}

func TestAfterAKillTheReadyPoolIsThereAndNothingElse(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withUV()
	h.configure("[pools.uv]\nsize = 2\n")
	d := h.start()
	h.filled("uv", 3*time.Minute)
	held := h.acquire(rpc.AcquireParams{OwnerPID: new(os.Getpid())})
	h.eventually(30*time.Second, "a build has begun to make its folder", func() bool { return len(h.folders()) == 3 })
	half := h.folders()
	d.kill()

	h.start()
	ready := must[rpc.EnvListResult](h, rpc.MethodEnvList, rpc.EnvListParams{State: new(rpc.EnvReady)})
	leased := must[rpc.EnvListResult](h, rpc.MethodEnvList, rpc.EnvListParams{State: new(rpc.EnvLeased)})
	if len(ready.Envs) != 1 || len(leased.Envs) != 1 || leased.Envs[0].ID != held.Env.ID ||
		!leased.Envs[0].Lease.Alive {
		t.Errorf("after the kill: ready %+v, leased %+v", ready.Envs, leased.Envs)
	}
	h.filled("uv", time.Minute)
	for _, e := range must[rpc.EnvListResult](h, rpc.MethodEnvList, rpc.EnvListParams{}).Envs {
		known := e.ID == held.Env.ID || e.ID == ready.Envs[0].ID
		for _, id := range half {
			if e.ID == id && !known {
				t.Errorf("%s was half made when the daemon was killed, and is offered as %s", id, e.State)
			}
		}
	}
}

func TestAMistypedPackageIsNamedAndCorrectingItRetriesAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withUV()
	h.configure("[pools.uv]\nsize = 1\npackages = [\"no-such-package-runtimed\"]\n")
	h.start()
	var s rpc.PoolStatus
	h.eventually(time.Minute, "the pool says that it fails", func() bool { s = h.pool("uv"); return s.Error != nil })
	if s.State != rpc.PoolFailing || s.Error.Cause != builder.CausePackageNotFound ||
		s.Error.Package != "no-such-package-runtimed" || s.Error.Output == "" {
		data, _ := json.Marshal(s)
		t.Errorf("status: %s", data)
	}
	_, err := ask[rpc.AcquireResult](h, rpc.MethodAcquire, rpc.AcquireParams{WaitMS: new(int64(1000))})
	if rpc.KindOf(err) != rpc.KindBuildFailed {
		t.Errorf("acquire from a failing pool: %v", err)
	}
	h.configure("[pools.uv]\nsize = 1\n") // noticed by itself
	h.eventually(time.Minute, "the pool is filled", func() bool { return h.pool("uv").Available == 1 })
}

func TestANamedPoolHasItsOwnPackages(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withUV()
	h.configure("[pools.uv]\nsize = 0\n[pools.data]\nkind = \"uv\"\nsize = 1\npackages = [\"attrs\"]\n")
	h.start()
	h.filled("data", 3*time.Minute)
	env := h.acquire(rpc.AcquireParams{Pool: new("data"), OwnerPID: new(os.Getpid())})
	var names []string
	for _, p := range env.Env.Packages {
		names = append(names, p.Name)
	}
	if all := strings.Join(names, " "); !strings.Contains(all, "attrs") || !strings.Contains(all, "ipykernel") ||
		strings.Contains(all, "ipywidgets") {
		t.Errorf("its packages: %s", all)
	}
	if _, err := ask[rpc.AcquireResult](h, rpc.MethodAcquire, rpc.AcquireParams{}); rpc.KindOf(err) != rpc.KindPoolOff {
		t.Errorf("the uv pool has size 0, and acquire says %v", err)
	}
}
