//go:build unix

package uv

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

func TestADamagedLockFileIsSetAsideAndMadeAnew(t *testing.T) {
	for name, damage := range map[string]func(path string, data []byte) error{
		"cut": func(path string, data []byte) error { return os.WriteFile(path, data[:len(data)-3], 0o600) },
		"garbage": func(path string,
			_ []byte) error {
			return os.WriteFile(path, []byte("\xff\xfe\x01 not a lock"), 0o600)
		},
		"zeros": func(path string,
			data []byte) error {
			return os.WriteFile(path, make([]byte, len(data)), 0o600)
		},
		"for another": func(path string, _ []byte) error { return os.WriteFile(path, []byte("rich==1.0\n"), 0o600) },
		"another's": func(path string, _ []byte) error {
			return os.WriteFile(path, Sealed("x", []byte("rich==1.0\n")), 0o600)
		},
		"a full folder": func(path string, _ []byte) error {
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o700), os.Mkdir(filepath.Join(path, "mine"), 0o700))
		},
		"a folder": func(path string,
			_ []byte) error {
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o700))
		},
		"a named pipe": func(path string,
			_ []byte) error {
			return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600))
		},
		"a link": func(path string,
			_ []byte) error {
			return errors.Join(os.Remove(path), os.Symlink("/dev/zero", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStandin(t)
			core, logs := observer.New(zap.InfoLevel)
			s.log = zap.New(core)
			sp := wanting("ipykernel")
			if _, _, err := s.build(sp); err != nil {
				t.Fatal(err)
			}
			locks, _ := filepath.Glob(filepath.Join(s.State, "locks", "*.txt"))
			whole, err := os.ReadFile(locks[0])
			if err != nil || len(locks) != 1 {
				t.Fatal(locks, err)
			}
			for range 2 { // the second finds the first's beside it
				testkit.Check(t, damage(locks[0], whole))
				s.Calls("/nowhere")
				if _, _, err := s.build(sp); err != nil {
					t.Fatalf("%+v", err)
				}
				if n := strings.Count(s.Calls("/nowhere"), "pip compile"); n != 1 {
					t.Errorf("resolved %d times", n)
				}
				if data, err := os.ReadFile(locks[0]); err != nil || string(data) != string(whole) {
					t.Errorf("%v: %s", err, data)
				}
			}
			if n := logs.FilterMessageSnippet("set aside").Len(); n != 2 {
				t.Errorf("said %d times", n)
			}
			again := New(s.State, Config{}, s.Environ, zap.NewNop()) // the next daemon
			again.Tidy()
			left, _ := filepath.Glob(filepath.Join(s.State, "locks", "*"+asideSuffix+"*"))
			if (name == "a full folder") != (len(left) == 2) || name != "a full folder" && len(left) > 0 {
				t.Errorf("left: %v", left) // nobody else's are removed
			}
		})
	}
}

func TestALockFileOfAnEarlierVersionServesUntilItCannot(t *testing.T) {
	s := newStandin(t)
	sp := wanting("ipykernel")
	if _, _, err := s.build(sp); err != nil {
		t.Fatal(err)
	}
	locks, _ := filepath.Glob(filepath.Join(s.State, "locks", "*.txt"))
	old := []byte("ipykernel==7.4\n")
	past := time.Now().Add(-time.Hour)
	testkit.Check(t, errors.Join(os.WriteFile(locks[0], old, 0o600), os.Chtimes(locks[0], past, past)))
	s.Calls("/nowhere")
	if _, _, err := s.build(sp); err != nil || strings.Contains(s.Calls("/nowhere"), "pip compile") {
		t.Errorf("a sound one was resolved anew: %v", err)
	}
	// Where uv cannot use it, it is made anew, once a build.
	for _, step := range []string{"offline", "online", "reinstall"} {
		s.Write("fail."+step, "error: Couldn't parse requirement in `x`")
	}
	if _, _, err := s.build(sp); err == nil {
		t.Error("built")
	}
	if n := strings.Count(s.Calls("/nowhere"), "pip compile"); n != 1 {
		t.Errorf("resolved %d times", n)
	}
	// No lock file is to blame for the network.
	testkit.Check(t, errors.Join(os.WriteFile(locks[0], old, 0o600), os.Chtimes(locks[0], past, past)))
	for _, step := range []string{"offline", "online", "reinstall"} {
		s.Write("fail."+step, "error: Failed to fetch")
	}
	if _, _, err := s.build(sp); builder.CauseOf(err) != builder.CauseNetwork ||
		strings.Contains(s.Calls("/nowhere"), "pip compile") {
		t.Errorf("%v", err)
	}
	if data, _ := os.ReadFile(locks[0]); string(data) != string(old) {
		t.Errorf("the lock file is %q", data)
	}
}

func TestAToolThatIsDamagedIsFetchedAnew(t *testing.T) {
	s := fetching(t)
	path, err := s.findIt()
	testkit.Check(t, err)
	folder := filepath.Dir(filepath.Dir(path))
	for name, damage := range map[string]func() error{
		"garbage":       func() error { return os.WriteFile(path, []byte("\x7fELF and no more"), 0o700) },
		"half a folder": func() error { return os.Remove(path) },
		"a file":        func() error { return errors.Join(os.RemoveAll(folder), os.WriteFile(folder, nil, 0o600)) },
	} {
		testkit.Check(t, errors.Join(damage(), os.RemoveAll(filepath.Join(s.State, "tools", "empty")),
			os.WriteFile(filepath.Join(s.State, "tools", "empty"), nil, 0o600)))
		again := New(s.State, Config{}, s.Environ, zap.NewNop())
		again.Elsewhere = nil
		got, err := again.Find(t.Context(), again.Tools(), func(builder.Stage) {})
		if err != nil || got != path {
			t.Errorf("%s: %s, %v", name, got, err)
		}
		if _, ok := again.version(t.Context(), "", path); !ok {
			t.Errorf("%s: it does not run", name)
		}
		_ = os.RemoveAll(filepath.Join(s.State, "tools", "empty"+asideSuffix))
	}
	// One that does not run, and cannot be replaced, stays: it may have been the machine.
	s.Write("fail.pip", "Connection refused")
	testkit.Check(t, os.WriteFile(path, []byte("#!/bin/sh\nexit 1\n"), 0o700))
	again := New(s.State, Config{}, s.Environ, zap.NewNop())
	again.Elsewhere = nil
	if _, err := again.Find(t.Context(), again.Tools(), func(builder.Stage) {}); err == nil || !envdir.Exists(path) {
		t.Errorf("it is gone: %v", err)
	}
}

func TestNoLockFileIsToBlameForADamagedToolOrTheMachine(t *testing.T) {
	s := fetching(t)
	s.Script("uv.real", "uv.sh")
	s.Write("uv.fetched", "#!/bin/sh\nexec "+filepath.Join(s.Bin, "uv.real")+` "$@"`+"\n")
	sp := wanting("ipykernel")
	if _, _, err := s.build(sp); err != nil {
		t.Fatal(err)
	}
	locks, _ := filepath.Glob(filepath.Join(s.State, "locks", "*.txt"))
	past := time.Now().Add(-time.Hour)
	tool, _ := s.Tool()
	for _, damage := range []string{"", "\x7fELF and no more"} {
		testkit.Check(t, errors.Join(os.WriteFile(tool.Path, []byte(damage), 0o700),
			os.Chtimes(locks[0], past, past)))
		if _, _, err := s.build(sp); err != nil {
			t.Errorf("%q: %+v", damage, err)
		}
	}
	for _, step := range []string{"offline", "online", "reinstall"} {
		s.Write("fail."+step, "error: Too many open files (os error 24)")
	}
	if _, _, err := s.build(sp); err == nil {
		t.Error("built")
	}
	if info, err := os.Stat(locks[0]); err != nil || info.ModTime().Unix() != past.Unix() {
		t.Errorf("it was made anew: %v", err)
	}
}

func TestWithoutTheNetworkTheCacheIsEnoughForANewLockFile(t *testing.T) {
	s := newStandin(t)
	sp := wanting("ipykernel")
	s.Write("fail.compile.online", "error: Failed to fetch")
	if _, _, err := s.build(sp); err != nil {
		t.Fatalf("%+v", err)
	}
	if got := s.Calls("/nowhere"); strings.Count(got, "pip compile") != 2 || strings.Count(got, "--offline") != 2 {
		t.Errorf("%s", got) // the second --offline is that of the installation
	}
	if err := s.Renew(t.Context(), sp, 24*time.Hour); builder.CauseOf(err) != builder.CauseNetwork {
		t.Errorf("it counts as new: %v", err)
	}
	s.Remove("fail.compile.online")
	if err := s.Renew(t.Context(), sp, 24*time.Hour); err != nil {
		t.Error(err)
	}
	s.Calls("/nowhere")
	if err := s.Renew(t.Context(), sp, 24*time.Hour); err != nil || s.Calls("/nowhere") != "" {
		t.Errorf("it is renewed again and again: %v", err)
	}
	// What the cache does not have is the network's fault still.
	s.Write("fail.compile.online", "error: Failed to fetch")
	s.Write("fail.compile.offline", "error: rich was not found in the cache")
	if _, _, err := s.build(wanting("rich")); builder.CauseOf(err) != builder.CauseNetwork {
		t.Error(err)
	}
}

func TestAUVConfigThatIsANamedPipeHangsNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "uv.toml")
	testkit.Check(t, syscall.Mkfifo(path, 0o600))
	if text, changed := withoutOwn(path); changed {
		t.Errorf("got %q", text)
	}
}
