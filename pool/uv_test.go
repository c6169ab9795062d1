package pool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func causeAndMessage(err error) string {
	var b *BuildError
	if !errors.As(err, &b) {
		return "no BuildError"
	}
	return b.Cause + ": " + b.Message
}

func TestABuildResolvesOnceAndInstallsFromTheLockOffline(t *testing.T) {
	s := newStandin(t)
	var stages []string
	dir := filepath.Join(s.state, "envs", "uv-01234567")
	built, err := s.Build(t.Context(), spec("ipykernel", "numpy"), dir, func(s Stage) { stages = append(stages, s.Name) })
	if err != nil {
		t.Fatal(err)
	}
	want := `python list --only-installed --output-format json
pip compile --quiet --generate-hashes --no-header --no-annotate --output-file lock.txt --no-python-downloads --python BIN/python requirements.in
venv --no-project --no-python-downloads --python BIN/python ENV
pip sync --python ENV/bin/python LOCK --offline`
	if diff := cmp.Diff(want, s.calls(dir)); diff != "" {
		t.Error(diff)
	}
	if got := strings.Join(stages, " "); got != "resolving installing installing verifying" {
		t.Error(got)
	}
	wantBuilt := Built{
		Python: filepath.Join(dir, "bin/python"), PythonVersion: "3.13.1",
		Packages:    []Package{{"ipykernel", "7.4"}, {"pyzmq", "27.1"}, {"some-thing", "1.0rc1"}},
		Variables:   map[string]*string{"VIRTUAL_ENV": &dir, "PYTHONHOME": nil, "CONDA_PREFIX": nil, "CONDA_DEFAULT_ENV": nil},
		PathPrepend: []string{filepath.Join(dir, "bin")},
		Sentinels: []string{
			"bin/python", "pyvenv.cfg", "lib/python3.13/site-packages/ipykernel/__init__.py", "lib/python3.13/site-packages/zmq/x.so",
		},
	}
	if diff := cmp.Diff(wantBuilt, built); diff != "" {
		t.Error(diff)
	}

	dir2, _, err := s.build(spec("numpy", "ipykernel"))
	if err != nil {
		t.Fatal(err)
	}
	want = `venv --no-project --no-python-downloads --python BIN/python ENV
pip sync --python ENV/bin/python LOCK --offline`
	if diff := cmp.Diff(want, s.calls(dir2)); diff != "" {
		t.Error(diff)
	}
	locks, _ := filepath.Glob(filepath.Join(s.state, "locks", "*"))
	if len(locks) != 1 || !strings.HasSuffix(locks[0], "-py3.13.txt") {
		t.Errorf("locks: %v", locks)
	}
	if got := s.took("cwd"); strings.TrimSpace(got) != filepath.Join(s.state, "tools", "empty") {
		t.Errorf("uv ran in %s", got)
	}
}

func TestTheNetworkIsAskedOnlyForWhatTheCacheLacks(t *testing.T) {
	const missing = "error: No solution found\n  cause: Because six was not found in the cache"
	const network = "error: Failed to fetch: https://u:p@h/simple"
	for _, c := range []struct {
		name                       string
		offline, online, reinstall string // how these tries fail
		tries                      string
		cause                      string
		lockStays                  bool
	}{
		{"everything is there", "", "", "", "--offline", "", true},
		{"something is missing", missing, "", "", "--offline ", "", true},
		{"the index must be asked anew", missing, "x", "", "--offline  --reinstall", "", true},
		{"no network", missing, network, "", "--offline ", CauseNetwork, true},
		{"no access", missing, "401 Unauthorized", "", "--offline ", CauseAuth, true},
		{"the disk is full", "No space left on device (os error 28)", "", "", "--offline", CauseDiskFull, true},
		{"nothing can be written", "Read-only file system (os error 30)", "", "", "--offline", CausePermission, true},
		{"a version is gone", missing, "No solution found", "error: No solution found", "--offline  --reinstall", CauseUnsatisfiable, false},
		{"a file is damaged", missing, "x", "Hash mismatch for `six==1.17.0`", "--offline  --reinstall", CauseCorrupt, false},
		{"something unknown", "x", "x", "error: it is Monday", "--offline  --reinstall", CauseOther, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStandin(t)
			for step, text := range map[string]string{"offline": c.offline, "online": c.online, "reinstall": c.reinstall} {
				if text != "" {
					s.write("fail."+step, text)
				}
			}
			dir, _, err := s.build(spec("six"))
			if causeOf(err) != c.cause {
				t.Errorf("%v", err)
			}
			var tries []string
			for line := range strings.Lines(s.calls(dir)) {
				if _, flag, ok := strings.Cut(strings.TrimSpace(line), "LOCK"); ok {
					tries = append(tries, strings.TrimSpace(flag))
				}
			}
			if got := strings.Join(tries, " "); got != c.tries {
				t.Errorf("tried %q, not %q", got, c.tries)
			}
			if locks, _ := filepath.Glob(filepath.Join(s.state, "locks", "*.txt")); (len(locks) == 1) != c.lockStays {
				t.Errorf("locks: %v", locks)
			}
		})
	}
}

func TestAToolThatSaysItSucceededIsNotBelieved(t *testing.T) {
	for name, want := range map[string]string{
		"venv.nothing": "verify_failed: the environment was built, but its Python cannot import the kernel",
		"sync.nothing": "verify_failed: the environment was built, but its Python cannot import the kernel",
		"sync.torn":    "verify_failed: the environment was built, but is not whole: zmq/x.so has 0 bytes, 2 were installed",
	} {
		t.Run(name, func(t *testing.T) {
			s := newStandin(t)
			s.write(name, "")
			_, _, err := s.build(spec("ipykernel"))
			if got := causeAndMessage(err); got != want {
				t.Errorf("%s\nnot %s", got, want)
			}
			if locks, _ := filepath.Glob(filepath.Join(s.state, "locks", "*.txt")); len(locks) != 0 {
				t.Errorf("the lock was kept: %v", locks)
			}
		})
	}
}

func TestVerifyLooksThroughAllThatWasInstalled(t *testing.T) {
	site := "lib/python3.13/site-packages/"
	for name, damage := range map[string]func(dir string) error{
		"":                 func(string) error { return nil },
		"x.so has 1 bytes": func(d string) error { return os.Truncate(filepath.Join(d, site, "zmq/x.so"), 1) },
		"no such file":     func(d string) error { return os.Remove(filepath.Join(d, site, "zmq/x.so")) },
		"RECORD":           func(d string) error { return os.Remove(filepath.Join(d, site, "pyzmq-27.1.dist-info/RECORD")) },
		"parse error": func(d string) error {
			return os.WriteFile(filepath.Join(d, site, "pyzmq-27.1.dist-info/RECORD"), []byte("a\"b,c\n\"x"), 0o600)
		},
		"zmq was changed after": func(d string) error {
			return os.Chtimes(filepath.Join(d, site, "zmq"), time.Now(), time.Now().Add(time.Hour))
		},
		"it has no site-packages":      func(d string) error { return os.RemoveAll(filepath.Join(d, "lib")) },
		manifestName:                   func(d string) error { return os.Remove(filepath.Join(d, manifestName)) },
		"its Python cannot import the": func(d string) error { return os.Remove(filepath.Join(d, "bin/python")) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStandin(t)
			dir, _, err := s.build(spec("ipykernel"))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, manifestName), nil, 0o600)
			}
			if err == nil {
				err = damage(dir)
			}
			if err != nil {
				t.Fatal(err)
			}
			err = s.Verify(t.Context(), Manifest{}, dir)
			if (err == nil) != (name == "") || err != nil && !strings.Contains(err.Error(), name) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestUVIsAloneWithWhatConcernsIt(t *testing.T) {
	s := newStandin(t, "VIRTUAL_ENV=/decoy", "CONDA_PREFIX=/decoy", "PYTHONHOME=/decoy", "PYTHONPATH=/decoy", "UV_OFFLINE=1", "UV_LINK_MODE=symlink",
		"UV_PYTHON=/decoy", "HTTPS_PROXY=http://proxy", "UV_INDEX_MINE_PASSWORD=pw", "PIP_INDEX_URL=https://index")
	s.Configure(UVConfig{IndexURL: "https://mine/simple", Copy: true})
	dir, _, err := s.build(spec("ipykernel"))
	if err != nil {
		t.Fatal(err)
	}
	env := strings.Split(strings.TrimSpace(s.took("env")), "\n")
	for name, want := range map[string]string{
		"VIRTUAL_ENV": "", "CONDA_PREFIX": "", "PYTHONHOME": "", "PYTHONPATH": "", "UV_PYTHON": "",
		"UV_OFFLINE": "false", "UV_LINK_MODE": "copy", "UV_NO_CONFIG": "1", "UV_NO_PROGRESS": "1", "NO_COLOR": "1",
		"HTTPS_PROXY": "http://proxy", "UV_INDEX_MINE_PASSWORD": "pw", "PIP_INDEX_URL": "https://index",
		"UV_DEFAULT_INDEX": "https://mine/simple", "UV_CONFIG_FILE": lookup(s.uvEnv(), "UV_CONFIG_FILE"), MarkEnv: dir,
	} {
		if got := lookup(env, name); got != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
}

func TestTheUsersOwnConfigurationOfUVCounts(t *testing.T) {
	home, xdg := t.TempDir(), t.TempDir()
	config := func(environ ...string) string {
		return lookup(NewUV(t.TempDir(), UVConfig{}, environ, nop).uvEnv(), "UV_CONFIG_FILE")
	}
	system := config("HOME=" + home)
	if system != "" && system != "/etc/uv/uv.toml" {
		t.Errorf("the system's is %s", system)
	}
	for _, dir := range []string{filepath.Join(home, ".config", "uv"), filepath.Join(xdg, "uv")} {
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "uv.toml"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	mine := filepath.Join(home, ".config/uv/uv.toml")
	for want, environ := range map[string][]string{
		mine:                             {"HOME=" + home},
		filepath.Join(xdg, "uv/uv.toml"): {"HOME=" + home, "XDG_CONFIG_HOME=" + xdg},
		system:                           {"HOME=relative"},
	} {
		if got := config(environ...); got != want {
			t.Errorf("%v: %s, not %s", environ, got, want)
		}
	}
	if got := config("HOME="+home, "XDG_CONFIG_HOME=relative", "UV_CONFIG_FILE=/decoy"); got != mine {
		t.Error(got)
	}
}

func TestUVsCacheIsTheUsersWhereItCanBeLinkedFrom(t *testing.T) {
	home, own := t.TempDir(), t.TempDir()
	at := func(state string, environ ...string) string { return NewUV(state, UVConfig{}, environ, nop).cacheDir() }
	for want, got := range map[string]string{
		filepath.Join(home, ".cache/uv"):     at(own, "HOME="+home),
		filepath.Join(home, "xdg/uv"):        at(own, "HOME="+home, "XDG_CACHE_HOME="+filepath.Join(home, "xdg")),
		filepath.Join(home, "mine"):          at(own, "HOME="+home, "UV_CACHE_DIR="+filepath.Join(home, "mine")),
		filepath.Join(own, "tools/uv-cache"): at(own),
	} {
		if got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
	if got := at(own, "HOME=/proc/nowhere"); got != filepath.Join(own, "tools/uv-cache") {
		t.Errorf("a cache that cannot be made: %s", got)
	}
	other := t.TempDir()
	mountTmpfs(t, other, "1m")
	if got := at(other, "HOME="+home); got != filepath.Join(other, "tools/uv-cache") {
		t.Errorf("on another file system: %s", got)
	}
}

func TestALockIsRenewedWhenItIsOldAndNotBefore(t *testing.T) {
	s := newStandin(t)
	sp := spec("ipykernel")
	renew := func() string {
		t.Helper()
		if err := s.Renew(t.Context(), sp, 24*time.Hour); err != nil {
			t.Error(err)
		}
		return s.calls("-")
	}
	if got := renew(); got != "" {
		t.Errorf("without a lock: %s", got)
	}
	if _, _, err := s.build(sp); err != nil {
		t.Fatal(err)
	}
	s.calls("-")
	if got := renew(); got != "" {
		t.Errorf("with a new lock: %s", got)
	}
	locks, _ := filepath.Glob(filepath.Join(s.state, "locks", "*.txt"))
	old := strings.Replace(locks[0], "py3.13", "py3.9", 1)
	past := time.Now().Add(-25 * time.Hour)
	if err := errors.Join(os.WriteFile(old, nil, 0o600), os.Chtimes(old, past, past), os.Chtimes(locks[0], past, past)); err != nil {
		t.Fatal(err)
	}
	s.write("fail.compile", "error: Failed to fetch")
	if err := s.Renew(t.Context(), sp, 24*time.Hour); causeOf(err) != CauseNetwork {
		t.Error(err)
	}
	if data, err := os.ReadFile(locks[0]); err != nil || len(data) == 0 {
		t.Errorf("a failure cost the old lock: %v", err)
	}
	s.remove("fail.compile")
	s.calls("-")
	if got := renew(); !strings.HasPrefix(got, "python list") || !strings.Contains(got, "\npip compile") {
		t.Errorf("with an old lock: %s", got)
	}
	if got := renew(); got != "" || exists(old) {
		t.Errorf("and once more: %s; the lock of an unused Python is there: %t", got, exists(old))
	}
	if err := os.Truncate(locks[0], 0); err != nil { // a power loss did
		t.Fatal(err)
	}
	if dir, _, err := s.build(sp); err != nil || !strings.Contains(s.calls(dir), "pip compile") {
		t.Errorf("an empty lock was used: %v", err)
	}
	left, _ := filepath.Glob(filepath.Join(s.state, "locks", ".*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestABuildThatIsEndedLeavesNoProcess(t *testing.T) {
	s := newStandin(t)
	writeProgram(t, filepath.Join(s.bin, "uv"), []byte("#!/bin/sh\ntrap '' TERM\nsleep 600 & echo $! > "+s.bin+"/pid\nsleep 600\n"))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := s.Build(ctx, spec("x"), filepath.Join(s.state, "envs", "uv-01234567"), func(Stage) {})
	if err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
	goneSoon(t, filepath.Join(s.bin, "pid"))
}

func TestBuildsSideBySideResolveOnce(t *testing.T) {
	s := newStandin(t)
	done := make(chan error)
	for range 4 {
		go func() {
			_, err := s.Build(t.Context(), spec("ipykernel"), filepath.Join(t.TempDir(), "env"), func(Stage) {})
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	lines := strings.Split(s.took("calls"), "\n")
	lines = slices.DeleteFunc(lines, func(l string) bool { return !strings.HasPrefix(l, "pip compile") })
	if len(lines) != 1 {
		t.Errorf("resolved %d times", len(lines))
	}
}
