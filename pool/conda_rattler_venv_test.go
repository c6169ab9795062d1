package pool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"
)

func TestTheVenvOfRattlerIsMadeOnce(t *testing.T) {
	channelDir(t) // there is uv then
	r := bareRattler(t, netEnviron()...)
	var made sync.Map
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			python, err := r.ready(t.Context(), r.c.uv.tools(), func(s Stage) { made.Store(&s, s.Message) })
			if err != nil || python != venvPython(r.venv()) {
				t.Errorf("%s, %+v", python, err)
			}
		})
	}
	wg.Wait()
	var said []string
	made.Range(func(_, message any) bool { said = append(said, message.(string)); return true })
	if want := []string{"fetching rattler " + rattlerVersion()}; !slices.Equal(said, want) {
		t.Errorf("%q", said)
	}
	if left, _ := filepath.Glob(filepath.Join(r.c.uv.tools(), ".fetch-*")); len(left) > 0 {
		t.Errorf("%v are left", left)
	}

	job := r.job(t, channelDir(t), "rt-lib")
	for what, breakIt := range map[string]func() error{
		"its base is gone": func() error {
			bin := filepath.Join(r.venv(), "bin")
			return errors.Join(os.RemoveAll(bin), os.Mkdir(bin, 0o700), os.Symlink("/nowhere/python", venvPython(r.venv())))
		},
		"its Python is another one": func() error {
			lib, err := filepath.Glob(filepath.Join(r.venv(), "lib", "python3*"))
			return errors.Join(err, os.Rename(lib[0], filepath.Join(r.venv(), "lib", "python2.7")))
		},
		"its Python does not run": func() error {
			python := venvPython(r.venv())
			return errors.Join(os.Remove(python), os.WriteFile(python, []byte("#!/nowhere\n"), 0o700))
		},
		"a crash of the machine left an empty file": func() error { return r.cutFile("rattler/__init__.py", 0) },
		"a crash left half of a library":            func() error { return r.cutFile("rattler/rattler.*.so", 2) },
		"a crash left no Python in a file":          func() error { return r.cutFile("rattler/networking/__init__.py", 1, 0, 0, 0) },
	} {
		if err := breakIt(); err != nil {
			t.Fatal(what, err)
		}
		if err := r.renew(t.Context(), r.c.uv.tools(), job); err != nil {
			t.Errorf("%s: %+v", what, err)
		}
	}
}

// cutFile leaves one nth of a file in rattler's venv, or nothing, and more behind it.
func (r *rattler) cutFile(name string, n int, more ...byte) error {
	found, err := filepath.Glob(filepath.Join(r.venv(), sitesBelow, name))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("%s: %q, %v", name, found, err)
	}
	data, err := os.ReadFile(found[0])
	if err != nil {
		return err
	}
	keep := 0
	if n > 0 {
		keep = len(data) / n
	}
	return errors.Join(os.Remove(found[0]), os.WriteFile(found[0], append(data[:keep], more...), 0o600)) // uv's cache has the old one
}

func TestAFullDiskIsToldThoughAHalfInstalledRattlerLooksWhole(t *testing.T) {
	channelDir(t)
	r := bareRattler(t, netEnviron()...)
	if _, err := r.ready(t.Context(), r.c.uv.tools(), func(Stage) {}); err != nil { // uv's cache has it then
		t.Fatal(err)
	}
	if err := os.RemoveAll(r.c.uv.tools()); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(r.c.uv.tools(), 0o700); err != nil {
		t.Fatal(err)
	}
	mountTmpfs(t, r.c.uv.tools(), "30m")
	_, err := r.ready(t.Context(), r.c.uv.tools(), func(Stage) {})
	if b := buildError(t, err); b.Cause != CauseDiskFull {
		t.Errorf("%+v", b)
	}
}

func TestWithoutUVTheCauseIsTold(t *testing.T) {
	r := bareRattler(t)
	r.c.uv.environ, r.c.uv.elsewhere = []string{"PATH=/nowhere", "HOME=" + t.TempDir()}, nil
	b := buildError(t, r.create(t.Context(), r.env("a"), r.job(t, "/nowhere", "python")))
	if b.Cause != CauseToolMissing || !strings.HasPrefix(b.Message, "rattler "+rattlerVersion()+", which makes conda environments") ||
		!strings.Contains(b.Message, "uv is not on this machine") {
		t.Errorf("%+v", b)
	}
}

func TestRattlerNeedsANewerPythonThanTheKernel(t *testing.T) {
	s := newToolKit(t)
	s.write("pythons", strings.ReplaceAll(s.took("pythons"), "3.13.1", "3.9.18"))
	s.write("version", "3.9.18\n")
	s.write("fail.install", "error: Failed to download https://host/python.tar.gz")
	r := newRattler(NewConda(s.state, CondaConfig{}, scriptedUV(s), s.variables, zap.NewNop()))
	_, err := r.ready(t.Context(), r.c.uv.tools(), func(Stage) {})
	want := "python_missing: rattler, which makes conda environments, needs Python >= 3.10, and uv could not find or fetch one"
	if got := condaSummary(err); got != want {
		t.Error(got)
	}
	if got := s.calls("-"); !strings.Contains(got, "python install 3.13") {
		t.Error(got)
	}
}

func TestWhatRattlerNeedsIsTold(t *testing.T) {
	lacks := "rattler " + rattlerVersion() + ", which makes conda environments, cannot be had: "
	for _, c := range []struct {
		was  BuildError
		want BuildError
	}{
		{BuildError{Cause: CausePythonMissing, Message: "needs Python 3.13", Hint: "name it as python of the pool"}, BuildError{
			CausePythonMissing, "rattler, which makes conda environments, needs Python >= 3.10, and uv could not find or fetch one",
			"install Python >= 3.10, or micromamba, mamba or conda", "", "", false,
		}},
		{BuildError{Cause: CausePackageNotFound, Message: "the package py-rattler is not in the index", Package: "py-rattler"}, BuildError{
			CausePackageNotFound, lacks + "the package py-rattler is not in the index",
			"uv.index_url must name an index that has py-rattler; or install micromamba, mamba or conda", "", "", false,
		}},
		{BuildError{Cause: CauseNetwork, Message: "the package index cannot be reached", Hint: "check it", Output: "refused"}, BuildError{
			CauseNetwork, lacks + "the package index cannot be reached",
			"check it", "", "refused", false,
		}},
	} {
		if got := buildError(t, noRattler(t.Context(), &c.was)); *got != c.want {
			t.Errorf("%+v", *got)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := noRattler(ended, context.Canceled); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestCondaToolsGetWhatConcernsThem(t *testing.T) {
	environ := []string{
		"HOME=/h", "CONDARC=/c", "MAMBARC=/m", "CONDA_PKGS_DIRS=/p", "CONDA_OVERRIDE_CUDA=12", "RATTLER_AUTH_FILE=/a", "SSL_CERT_FILE=/s",
		"CONDA_PREFIX=/decoy", "CONDA_DEFAULT_ENV=base", "MAMBA_ROOT_PREFIX=/decoy", "PYTHONPATH=/decoy", "RATTLER_CACHE_DIR=/decoy",
	}
	c := NewConda(t.TempDir(), CondaConfig{}, nil, environ, zap.NewNop())
	got := c.childEnv()
	slices.Sort(got)
	want := slices.Sorted(slices.Values(environ[:7]))
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
