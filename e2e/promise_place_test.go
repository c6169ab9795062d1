//go:build e2e && unix

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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

// tree is what there is below dir, with sizes and times.
func tree(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		all = append(all, fmt.Sprintf("%s %d %s", path, info.Size(), info.ModTime()))
		return err
	})
	check(t, err)
	return all
}

func TestNothingOfTheFolderOrTheShellItIsStartedInReachesItsBuilds(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withUV()
	decoy, modules := filepath.Join(h.home, "decoy"), filepath.Join(h.home, "modules")
	if out, err := exec.Command("python3", "-m", "venv", "--without-pip", decoy).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for path, text := range map[string]string{
		"decoy/conda-meta/history": "", "modules/json.py": "raise SystemExit('the wrong json')",
		"modules/sitecustomize.py": "raise SystemExit('the wrong site')",
		"pyproject.toml":           "[[broken", "uv.toml": "broken = [", ".python-version": "2.7\n",
		".venv": "no folder",
	} {
		check(t, os.MkdirAll(filepath.Dir(filepath.Join(h.home, path)), 0o755))
		write(h, filepath.Join(h.home, path), text)
	}
	before := append(tree(t, decoy), tree(t, modules)...)
	for name, value := range map[string]string{
		"VIRTUAL_ENV": decoy, "CONDA_PREFIX": decoy, "CONDA_DEFAULT_ENV": "decoy", "PYTHONPATH": modules,
		"PYTHONHOME":              decoy,
		"PYTHONDONTWRITEBYTECODE": "1", "PYTHONSTARTUP": "/nowhere", "UV_PYTHON": "2.7",
		"UV_PROJECT_ENVIRONMENT": decoy, "UV_SYSTEM_PYTHON": "1",
		"UV_CONFIG_FILE": filepath.Join(h.home, "uv.toml"), "UV_LINK_MODE": "symlink", "UV_OFFLINE": "1",
		"UV_TARGET": decoy, "PIP_TARGET": decoy,
		"PATH": filepath.Join(decoy, "bin") + ":" + lastOf(h.env, "PATH"),
	} {
		h.setenv(name, value)
	}
	h.configure("[pools.uv]\nsize = 1\n")
	h.start()
	h.filled("uv", 3*time.Minute)
	env := h.acquire(rpc.AcquireParams{OwnerPID: new(os.Getpid())}).Env
	if !strings.HasPrefix(env.Python, h.home) || len(compiled(t, env.Path)) < 300 {
		t.Errorf("%s, %d compiled files", env.Python, len(compiled(t, env.Path)))
	}
	if out, err := exec.Command(env.Python, "-I", "-c", "import ipykernel.kernelapp").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if after := append(tree(t, decoy), tree(t, modules)...); !slices.Equal(before, after) {
		t.Errorf("the decoy was changed:\n%s", strings.Join(after, "\n"))
	}
}

func lastOf(env []string, name string) string {
	for _, v := range slices.Backward(env) {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// livesIn moves a house to another HOME, and its socket to where its path is short.
func (h *house) livesIn(home string) {
	h.t.Helper()
	near := filepath.Join(filepath.Dir(h.home), "s")
	check(h.t, errors.Join(os.MkdirAll(home, 0o755), os.Mkdir(near, 0o700)))
	h.home, h.socket = home, filepath.Join(near, "s")
	h.setenv("HOME", h.home)
	h.setenv("RUNTIMED_SOCKET", h.socket)
}

func TestInAnOddAndLongHomeEveryScriptRuns(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withUV()
	h.livesIn(filepath.Join(h.home, `a b 'c' "d" $e ünï [x] 日本`, strings.Repeat("0123456789", 12),
		strings.Repeat("long", 20)))
	h.configure("[pools.uv]\nsize = 1\n")
	h.start()
	h.filled("uv", 3*time.Minute)
	env := h.acquire(rpc.AcquireParams{OwnerPID: new(os.Getpid())}).Env
	if len(env.Path) < 200 {
		t.Errorf("its path has %d bytes", len(env.Path))
	}
	entries, err := os.ReadDir(filepath.Join(env.Path, "bin"))
	check(t, err)
	n := 0
	for _, e := range entries {
		if strings.Contains(e.Name(), "activate") || strings.HasSuffix(e.Name(), ".bat") {
			continue
		}
		n++
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := exec.CommandContext(ctx, filepath.Join(env.Path, "bin", e.Name()), "--help")
		cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=/usr/bin:/bin"}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("bin/%s: %v: %s", e.Name(), err, out)
		}
		cancel()
	}
	t.Logf("%d scripts", n)
	if n < 8 {
		t.Errorf("only %d scripts", n)
	}
}

func TestAHomeThatCannotBeWrittenIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure(off)
	h.tmpfs(t, filepath.Join(h.home, ".cache"), "size=1m")
	if out, err := exec.Command("mount", "-o", "remount,ro",
		filepath.Join(h.home, ".cache")).CombinedOutput(); err != nil {
		lacking(t, fmt.Sprintf("%v: %s", err, out))
	}
	d := h.launch()
	if code := d.exit(time.Minute); code != exitUseless {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{h.home + "/.cache", "read-only file system", "hint"} {
		if !strings.Contains(d.stderr.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, d.stderr)
		}
	}
	h.setenv("HOME", filepath.Join(h.home, ".cache/none"))
	if d = h.launch(); d.exit(time.Minute) != exitUseless ||
		!strings.Contains(d.stderr.String(), h.home+"/.cache/none") {
		t.Errorf("a HOME that is not there: %s", d.stderr)
	}
	h.setenv("HOME", h.home)

	// elsewhere it works, as the hint says
	other := filepath.Join(h.home, "other")
	check(t, os.Mkdir(other, 0o700))
	h.socket = filepath.Join(other, "s")
	h.setenv("RUNTIMED_SOCKET", h.socket)
	h.setenv("RUNTIMED_CACHE_DIR", other)
	h.start()
}

func TestWithCopiesNoInstalledFileIsShared(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withUV()
	h.configure("[uv]\nlink = \"copy\"\n[pools.uv]\nsize = 1\n")
	h.start()
	h.filled("uv", 3*time.Minute)
	n := 0
	err := filepath.WalkDir(h.state("envs", h.folders()[0]), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		n++
		info, err := d.Info()
		if err == nil && names(info) > 1 {
			t.Errorf("%s has another name", path)
		}
		return err
	})
	if err != nil || n < 1000 {
		t.Errorf("%d files, %v", n, err)
	}
}

func TestOnAnotherFileSystemThanTheCacheItFillsAndSaysSoOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withUV()
	h.tmpfs(t, filepath.Join(h.home, ".cache"), "size=1g")
	h.configure("[build]\nmin_free = \"10MB\"\n[pools.uv]\nsize = 2\n")
	h.start()
	h.filled("uv", 4*time.Minute)
	if said := h.logged("uv gets a cache of its own"); len(said) != 1 {
		t.Errorf("the log says:\n%s", strings.Join(said, ""))
	}
}

func TestAFileSystemWithoutExecutionIsNamedAsTheReason(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withUV()
	state := h.state()
	h.mount(t, state, "--bind", filepath.Dir(state)) // the same file system, so that uv's cache serves
	if out, err := exec.Command("mount", "-o", "remount,bind,noexec", state).CombinedOutput(); err != nil {
		lacking(t, fmt.Sprintf("%v: %s", err, out))
	}
	check(t, os.Chmod(state, 0o700))
	h.configure("[pools.uv]\nsize = 1\n")
	h.start()
	h.eventually(3*time.Minute, "the pool says that it fails", func() bool { return h.pool("uv").Error != nil })
	if e := h.pool("uv").Error; e.Cause != builder.CauseVerifyFailed || !strings.Contains(e.Hint, "noexec") {
		t.Errorf("%s: %s (%s)\n%s", e.Cause, e.Message, e.Hint, e.Output)
	}
}

func TestAFullDiskIsTheReasonBeforeAndDuringABuild(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(at(stepVenv,
		`for d; do :; done; mkdir -p "$d"; dd if=/dev/zero of="$d/big" bs=64k || exit 1`))
	h.tmpfs(t, filepath.Join(h.home, ".cache"), "size=8m")
	h.configure("[pools.uv]\nsize = 1\n")
	h.start()
	for _, want := range []string{"1.0 GiB that build.min_free asks for", "the disk is full"} {
		h.eventually(time.Minute, "it says "+want, func() bool {
			e := h.pool("uv").Error
			return e != nil && e.Cause == builder.CauseDiskFull && strings.Contains(e.Message, want)
		})
		h.configure(quickly + "1\n")
		must[rpc.ReloadResult](h, rpc.MethodReload, nil)
	}
	h.eventually(time.Minute, "the room is free again", func() bool {
		return halfFree(h.state()) && len(h.folders()) == 0
	})
}
