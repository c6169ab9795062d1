package uv

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

	"runtimed/internal/proc"
	"runtimed/internal/testkit"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

func causeAndMessage(err error) string {
	var b *builder.Error
	if !errors.As(err, &b) {
		return "no BuildError"
	}
	return b.Cause + ": " + b.Message
}

func TestABuildResolvesOnceAndInstallsFromTheLockOffline(t *testing.T) {
	s := newStandin(t)
	var stages []string
	dir := filepath.Join(s.State, "envs", "uv-01234567")
	built, err := s.Build(t.Context(), wanting("ipykernel", "numpy"), dir,
		func(s builder.Stage) { stages = append(stages, s.Name) })
	testkit.Check(t, err)
	want := `--version
python list --only-installed --output-format json
pip compile --quiet --generate-hashes --no-header --no-annotate --output-file lock.txt ` +
		`--no-python-downloads --python BIN/python requirements.in
venv --no-project --no-python-downloads --python BIN/python ENV
pip sync --python ENV/bin/python LOCK --offline`
	if diff := cmp.Diff(want, s.Calls(dir)); diff != "" {
		t.Error(diff)
	}
	if got := strings.Join(stages, " "); got != "resolving installing installing verifying" {
		t.Error(got)
	}
	wantBuilt := builder.Built{
		Python: filepath.Join(dir, testkit.Python), PythonVersion: "3.13.1",
		Packages: []builder.Package{{Name: "ipykernel", Version: "7.4"}, {Name: "pyzmq", Version: "27.1"},
			{Name: "some-thing", Version: "1.0rc1"}},
		Variables: map[string]*string{"VIRTUAL_ENV": &dir, "PYTHONHOME": nil, "CONDA_PREFIX": nil,
			"CONDA_DEFAULT_ENV": nil},
		PathPrepend: []string{builder.Scripts(dir)},
		Sentinels: []string{
			filepath.FromSlash(testkit.Python), "pyvenv.cfg",
			filepath.FromSlash(testkit.Site + "/ipykernel/__init__.py"), filepath.FromSlash(testkit.Site + "/zmq/x.so"),
		},
	}
	if diff := cmp.Diff(wantBuilt, built); diff != "" {
		t.Error(diff)
	}

	dir2, _, err := s.build(wanting("numpy", "ipykernel"))
	testkit.Check(t, err)
	want = `venv --no-project --no-python-downloads --python BIN/python ENV
pip sync --python ENV/bin/python LOCK --offline`
	if diff := cmp.Diff(want, s.Calls(dir2)); diff != "" {
		t.Error(diff)
	}
	locks, _ := filepath.Glob(filepath.Join(s.State, "locks", "*"))
	if len(locks) != 1 || !strings.HasSuffix(locks[0], "-py3.13.txt") {
		t.Errorf("locks: %v", locks)
	}
	if got := s.Took("cwd"); strings.TrimSpace(got) != filepath.Join(s.State, "tools", "empty") {
		t.Errorf("uv ran in %s", got)
	}
}

func TestTheNetworkIsAskedOnlyForWhatTheCacheLacks(t *testing.T) {
	ofManyBuilds(t)
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
		{"the index must be asked anew", missing, "x", "", "--offline  --reinstall --refresh", "", true},
		{"no network", missing, network, "", "--offline ", builder.CauseNetwork, true},
		{"no access", missing, "401 Unauthorized", "", "--offline ", builder.CauseAuth, true},
		{"the disk is full", "No space left on device (os error 28)", "", "", "--offline", builder.CauseDiskFull, true},
		{"nothing can be written", "Read-only file system (os error 30)", "", "", "--offline", builder.CausePermission,
			true},
		{"a version is gone", missing, "No solution found", "error: No solution found",
			"--offline  --reinstall --refresh", builder.CauseUnsatisfiable, false},
		{"a file is damaged", missing, "x", "Hash mismatch for `six==1.17.0`", "--offline  --reinstall --refresh",
			builder.CauseCorrupt, false},
		{"something unknown", "x", "x", "error: it is Monday", "--offline  --reinstall --refresh", builder.CauseOther,
			true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStandin(t)
			for step, text := range map[string]string{"offline": c.offline, "online": c.online,
				"reinstall": c.reinstall} {
				if text != "" {
					s.Write("fail."+step, text)
				}
			}
			dir, _, err := s.build(wanting("six"))
			if builder.CauseOf(err) != c.cause {
				t.Errorf("%v", err)
			}
			var tries []string
			for line := range strings.Lines(s.Calls(dir)) {
				if _, flag, ok := strings.Cut(strings.TrimSpace(line), "LOCK"); ok {
					tries = append(tries, strings.TrimSpace(flag))
				}
			}
			if got := strings.Join(tries, " "); got != c.tries {
				t.Errorf("tried %q, not %q", got, c.tries)
			}
			if locks, _ := filepath.Glob(filepath.Join(s.State, "locks", "*.txt")); (len(locks) == 1) != c.lockStays {
				t.Errorf("locks: %v", locks)
			}
		})
	}
}

func TestAToolThatSaysItSucceededIsNotBelieved(t *testing.T) {
	for name, want := range map[string]string{
		"venv.nothing": "verify_failed: the environment was built, but its Python cannot import the kernel",
		"sync.nothing": "verify_failed: the environment was built, but its Python cannot import the kernel",
		"sync.torn": "verify_failed: the environment was built, but is not whole: zmq/x.so has 0 bytes, 2 were " +
			"installed",
	} {
		t.Run(name, func(t *testing.T) {
			s := newStandin(t)
			s.Write(name, "")
			_, _, err := s.build(wanting("ipykernel"))
			if got := causeAndMessage(err); got != want {
				t.Errorf("%s\nnot %s", got, want)
			}
			if locks, _ := filepath.Glob(filepath.Join(s.State, "locks", "*.txt")); len(locks) != 0 {
				t.Errorf("the lock was kept: %v", locks)
			}
		})
	}
}

func TestVerifyLooksThroughAllThatWasInstalled(t *testing.T) {
	ofManyBuilds(t)
	site := testkit.Site + "/"
	absent := testkit.Refusal(t, filepath.Join(t.TempDir(), "absent"))
	for name, damage := range map[string]func(dir string) error{
		"":                 func(string) error { return nil },
		"x.so has 1 bytes": func(d string) error { return os.Truncate(filepath.Join(d, site, "zmq/x.so"), 1) },
		absent:             func(d string) error { return os.Remove(filepath.Join(d, site, "zmq/x.so")) },
		"RECORD": func(d string) error {
			return os.Remove(filepath.Join(d, site,
				"pyzmq-27.1.dist-info/RECORD"))
		},
		"parse error": func(d string) error {
			return os.WriteFile(filepath.Join(d, site, "pyzmq-27.1.dist-info/RECORD"), []byte("a\"b,c\n\"x"), 0o600)
		},
		"zmq was changed after": func(d string) error {
			return os.Chtimes(filepath.Join(d, site, "zmq"), time.Now(), time.Now().Add(time.Hour))
		},
		"it has no site-packages": func(d string) error {
			return os.RemoveAll(filepath.Join(d, filepath.Dir(testkit.Site)))
		},
		envdir.ManifestName: func(d string) error {
			return os.Remove(filepath.Join(d,
				envdir.ManifestName))
		},
		"its Python cannot import the": func(d string) error { return os.Remove(filepath.Join(d, testkit.Python)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStandin(t)
			dir, _, err := s.build(wanting("ipykernel"))
			soon := time.Now().Add(time.Minute) // what is damaged is not to be found by its folder's time
			if err == nil {
				err = errors.Join(os.WriteFile(filepath.Join(dir, envdir.ManifestName), nil, 0o600),
					os.Chtimes(filepath.Join(dir, envdir.ManifestName), soon, soon))
			}
			if err == nil {
				err = damage(dir)
			}
			testkit.Check(t, err)
			err = s.Verify(t.Context(), builder.Built{}, dir)
			if (err == nil) != (name == "") || err != nil && !strings.Contains(err.Error(), name) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestABuildThatIsEndedLeavesNoProcess(t *testing.T) {
	s := newStandin(t)
	testkit.WriteProgram(t, s.Program("uv"),
		[]byte("#!/bin/sh\ntrap '' TERM\nsleep 600 & echo $! > "+s.Bin+"/pid\nsleep 600\n"))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := s.Build(ctx, wanting("x"), filepath.Join(s.State, "envs", "uv-01234567"), func(builder.Stage) {})
	if err == nil || time.Since(began) > 30*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
	testkit.GoneSoon(t, filepath.Join(s.Bin, "pid"), proc.Runs)
}

func TestBuildsSideBySideResolveOnce(t *testing.T) {
	s := newStandin(t)
	done := make(chan error)
	for range 4 {
		go func() {
			_, err := s.Build(t.Context(), wanting("ipykernel"), filepath.Join(t.TempDir(), "env"),
				func(builder.Stage) {})
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	lines := strings.Split(s.Took("calls"), "\n")
	lines = slices.DeleteFunc(lines, func(l string) bool {
		return !strings.HasPrefix(l, "pip compile") && !strings.HasPrefix(l, "python list")
	})
	if len(lines) != 2 {
		t.Errorf("found out more than once: %q", lines)
	}
}
