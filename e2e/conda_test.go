//go:build e2e && unix

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"runtimed/pool/builder"
	"runtimed/rpc"
)

// condaChannel is the folder of a real conda channel, made once and kept.
var condaChannel = sync.OnceValues(func() (string, error) {
	var said bytes.Buffer
	cmd := exec.Command("python3", "../testdata/tools/conda_channel.py")
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		err = errors.Join(err, errors.New(strings.TrimSpace(said.String())))
	}
	return strings.TrimSpace(string(out)), err
})

// withChannel turns the conda pool on and has it take from the local channel; more is further lines of [pools.conda].
func (h *house) withChannel(more string) *house {
	h.t.Helper()
	return h.withChannelAt("file://"+h.channel(), more)
}

// channel is the folder of the channel; without what it needs, the test is skipped.
func (h *house) channel() string {
	h.t.Helper()
	channel, err := condaChannel()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 77 && os.Getenv("CI") == "" {
		h.t.Skip(err)
	}
	check(h.t, err)
	return channel
}

func (h *house) withChannelAt(url, more string) *house {
	h.t.Helper()
	h.withUV().setenv("RUNTIMED_CONDA_POOL_SIZE", "")
	h.configure("[conda]\nprovider = \"rattler\"\n[pools.uv]\nsize = 0\n[pools.conda]\nchannels = [\"" + url + "\"]\n" +
		more)
	return h
}

func TestACondaPoolFillsAndItsKernelRunsActivatedAndCompilesNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withChannel("size = 2\n" +
		"packages = [\"ipykernel\", \"ipywidgets\", \"pip\", \"rt-activate\", \"rt-postlink\"]\n")
	for minor := 9; minor < 16; minor++ { // what lies in the user site is no part of it
		zmq := fmt.Sprintf("%s/.local/lib/python3.%d/site-packages/zmq", h.home, minor)
		check(t, errors.Join(os.MkdirAll(zmq, 0o755), os.WriteFile(zmq+"/__init__.py",
			[]byte("raise ImportError('from the user site')\n"), 0o644)))
	}
	h.start()
	h.filled("conda", 3*time.Minute)
	if tool := h.pool("conda").Tool; tool == nil || tool.Name != "rattler" || tool.Version == "" ||
		tool.Why != "conda.provider in the configuration names it" {
		t.Errorf("the pool's tool: %+v", tool)
	}
	env := h.acquire(rpc.AcquireParams{Pool: new("conda"), OwnerPID: new(os.Getpid())}).Env
	other := h.acquire(rpc.AcquireParams{Pool: new("conda"), OwnerPID: new(os.Getpid())}).Env
	before := compiled(t, env.Path)
	said := kernel(t, env, other, "1+1", "import ipywidgets")
	for path := range compiled(t, env.Path) {
		if !before[path] {
			t.Errorf("the kernel had to compile %s", path)
		}
	}
	said += kernel(t, env, other, "%pip --version",
		`import os; print(*(os.environ[n] for n in ("CONDA_PREFIX", "RT_ACTIVATE", "RT_ORDER", "RT_ENV_VAR")))`)
	for _, want := range []string{
		"1+1 -> 2", "import ipywidgets -> ok", "from " + env.Path,
		strings.Join([]string{env.Path, env.Path + "/share/rt", env.Path, "from env_vars.d"}, " "),
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the kernel did not say %q:\n%s", want, said)
		}
	}
	for name, value := range map[string]string{"CONDA_PREFIX": env.Path, "CONDA_DEFAULT_ENV": env.Path,
		"CONDA_SHLVL": "1", "RT_ENV_VAR": "from env_vars.d"} {
		if v := env.Variables[name]; v == nil || *v != value {
			t.Errorf("%s is %v, want %s", name, v, value)
		}
	}
	used := exec.Command(env.Python, "-c", "import ipykernel.kernelapp, zmq; print(zmq.__file__)")
	used.Env = []string{"HOME=" + h.home, "PYTHONNOUSERSITE=" + *env.Variables["PYTHONNOUSERSITE"]}
	if out, err := used.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), env.Path) {
		t.Errorf("beside the user site: %v: %s", err, out)
	}
	if v, ok := env.Variables["VIRTUAL_ENV"]; !ok || v != nil {
		t.Error("VIRTUAL_ENV is not taken out")
	}
	for _, script := range []string{"pip", "ipython", "jupyter"} {
		cmd := exec.Command(filepath.Join(env.Path, "bin", script), "--version")
		cmd.Env = []string{"PATH=/usr/bin:/bin"}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("bin/%s: %v: %s", script, err, out)
		}
	}
	if _, err := os.Stat(filepath.Join(env.Path, "rt-postlink")); err != nil {
		t.Errorf("a package's link script did not run: %v", err)
	}
	records, err := filepath.Glob(filepath.Join(env.Path, "conda-meta", "*.json"))
	if err != nil || len(records) != len(env.Packages) || len(records) < 30 {
		t.Errorf("%d records in conda-meta, %d packages told: %v", len(records), len(env.Packages), err)
	}
	for _, p := range env.Packages {
		if found, _ := filepath.Glob(filepath.Join(env.Path, "conda-meta",
			p.Name+"-"+p.Version+"-*.json")); len(found) != 1 {
			t.Errorf("%s %s has no record", p.Name, p.Version)
		}
	}
}

func TestCondaEnvironmentsSurviveAKillAndABootAndAreWhole(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withChannel("size = 1\n")
	d := h.start()
	h.filled("conda", 3*time.Minute)
	held := h.acquire(rpc.AcquireParams{Pool: new("conda"), OwnerPID: new(os.Getpid())}).Env
	h.filled("conda", 3*time.Minute)
	ready := must[rpc.EnvListResult](h, rpc.MethodEnvList, rpc.EnvListParams{State: new(rpc.EnvReady)}).Envs[0]
	d.kill()
	manifest := filepath.Join(ready.Path, "runtimed.json")
	data, err := os.ReadFile(manifest)
	check(t, err)
	id := bytes.Split(bytes.SplitAfter(data, []byte(`"boot_id": "`))[1], []byte(`"`))[0]
	check(t, os.WriteFile(manifest, bytes.ReplaceAll(data, id, []byte("another boot")), 0o600))
	h.start()
	h.filled("conda", 3*time.Minute)
	for _, e := range must[rpc.EnvListResult](h, rpc.MethodEnvList, nil).Envs {
		if e.ID != held.ID && e.ID != ready.ID {
			t.Errorf("%s (%s) is there beside what was ready and leased", e.ID, e.State)
		}
	}
	said := kernel(t, held, ready.Env, "1+1")
	if !strings.Contains(said, "1+1 -> 2") {
		t.Errorf("the leased one after the kill: %s", said)
	}
}

func TestAKilledCondaBuildLeavesNothingAndThePoolFillsAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withChannel("size = 1\n")
	d := h.start()
	h.eventually(time.Minute, "the helper installs", func() bool {
		found, _ := filepath.Glob(h.state("envs", "conda-*", "conda-meta"))
		return len(found) > 0
	})
	half := h.folders()
	d.kill()
	junk := h.state("tools", "rattler", "pkgs", ".left-by-a-helper")
	check(t, os.MkdirAll(junk, 0o755))
	h.start()
	h.filled("conda", 3*time.Minute)
	for _, id := range h.folders() {
		if id == half[0] {
			t.Errorf("%s was half made, and is there after the restart", id)
		}
	}
	if left, _ := filepath.Glob(h.state("tools", "rattler", "pkgs", ".*", "*")); len(left) > 0 {
		t.Errorf("left in the package cache: %v", left)
	}
	if _, err := os.Stat(junk); !os.IsNotExist(err) {
		t.Errorf("what a killed helper left is still there: %v", err)
	}
}

func TestASecondCondaEnvironmentNeedsNoNetwork(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	server := httptest.NewServer(http.FileServer(http.Dir(h.channel())))
	defer server.Close()
	h.withChannelAt(server.URL, "size = 1\n")
	h.start()
	h.filled("conda", 3*time.Minute)
	server.Close()
	env := h.acquire(rpc.AcquireParams{Pool: new("conda"), OwnerPID: new(os.Getpid())})
	again := h.acquire(rpc.AcquireParams{Pool: new("conda"), OwnerPID: new(os.Getpid()), WaitMS: new(int64(60_000))})
	if env.Env.ID == again.Env.ID || len(env.Env.Packages) != len(again.Env.Packages) {
		t.Errorf("%+v\n%+v", env.Env, again.Env)
	}
}

func TestAnUnreachableChannelIsSaidOnceAndCostsTheUVPoolNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	check(t, err)
	defer silent.Close()
	h.withChannelAt("http://"+silent.Addr().String(), "size = 1\n"+
		"[pools.dead]\nkind = \"conda\"\nsize = 1\nchannels = [\"http://127.0.0.1:9\"]\n"+
		"[pools.fast]\nkind = \"uv\"\nsize = 3\n[build]\nparallel = 1\ntimeout = \"60s\"\n")
	h.start()
	h.filled("fast", 2*time.Minute)
	h.eventually(2*time.Minute, "both say why", func() bool {
		return h.pool("conda").Error != nil &&
			h.pool("dead").Error != nil
	})
	for _, pool := range []string{"conda", "dead"} {
		h.eventually(2*time.Minute, "an acquire says why there is none", func() bool {
			got, err := ask[rpc.AcquireResult](h, rpc.MethodAcquire,
				rpc.AcquireParams{Pool: new(pool), WaitMS: new(int64(1000))})
			if kind := rpc.KindOf(err); kind != rpc.KindBuildFailed &&
				kind != rpc.KindPoolEmpty { // that while the next try is on
				t.Fatalf("an acquire from %s, which cannot be filled: %+v, %v", pool, got, err)
			}
			return rpc.KindOf(err) == rpc.KindBuildFailed
		})
	}
	if e := h.pool("conda").Error; e.Cause != builder.CauseTimeout {
		t.Errorf("the silent one: %+v", e)
	}
	if e := h.pool("dead").Error; e.Cause != builder.CauseNetwork || e.Hint == "" {
		t.Errorf("the dead one: %+v", e)
	}
	h.filled("fast", time.Minute)
	log, err := os.ReadFile(h.state("runtimed.log"))
	check(t, err)
	if n := bytes.Count(log, []byte(`"build failed","pool":"dead"`)); n != 1 {
		t.Errorf("the log says %d times that the pool dead fails", n)
	}
}
