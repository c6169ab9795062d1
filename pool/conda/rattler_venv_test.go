package conda

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

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
)

func TestTheVenvOfRattlerIsMadeOnce(t *testing.T) {
	channelDir(t) // there is uv then
	r := bareRattler(t, testkit.NetEnviron()...)
	var made sync.Map
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			python, err := r.ready(t.Context(), r.c.uv.Tools(), func(s builder.Stage) { made.Store(&s, s.Message) })
			if err != nil || python != builder.VenvPython(r.venv()) {
				t.Errorf("%s, %+v", python, err)
			}
		})
	}
	wg.Wait()
	var said []string
	made.Range(func(_, message any) bool { said = append(said, message.(string)); return true })
	if want := []string{"fetching rattler " + RattlerVersion()}; !slices.Equal(said, want) {
		t.Errorf("%q", said)
	}
	if left, _ := filepath.Glob(filepath.Join(r.c.uv.Tools(), ".fetch-*")); len(left) > 0 {
		t.Errorf("%v are left", left)
	}

	job := r.job(t, channelDir(t), "rt-lib")
	for what, breakIt := range map[string]func() error{
		"its base is gone": func() error {
			bin := filepath.Join(r.venv(), "bin")
			return errors.Join(os.RemoveAll(bin), os.Mkdir(bin, 0o700), os.Symlink("/nowhere/python", builder.VenvPython(r.venv())))
		},
		"its Python is another one": func() error {
			lib, err := filepath.Glob(filepath.Join(r.venv(), "lib", "python3*"))
			return errors.Join(err, os.Rename(lib[0], filepath.Join(r.venv(), "lib", "python2.7")))
		},
		"its Python does not run": func() error {
			python := builder.VenvPython(r.venv())
			return errors.Join(os.Remove(python), os.WriteFile(python, []byte("#!/nowhere\n"), 0o700))
		},
		"a crash of the machine left an empty file": func() error { return r.cutFile("rattler/__init__.py", 0) },
		"a crash left half of a library":            func() error { return r.cutFile("rattler/rattler.*.so", 2) },
		"a crash left no Python in a file":          func() error { return r.cutFile("rattler/networking/__init__.py", 1, 0, 0, 0) },
	} {
		if err := breakIt(); err != nil {
			t.Fatal(what, err)
		}
		if err := r.renew(t.Context(), r.c.uv.Tools(), job); err != nil {
			t.Errorf("%s: %+v", what, err)
		}
	}
}

// cutFile leaves one nth of a file in rattler's venv, or nothing, and more behind it.
func (r *rattler) cutFile(name string, n int, more ...byte) error {
	found, err := filepath.Glob(filepath.Join(r.venv(), builder.SitesBelow, name))
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
	r := bareRattler(t, testkit.NetEnviron()...)
	if _, err := r.ready(t.Context(), r.c.uv.Tools(), func(builder.Stage) {}); err != nil { // uv's cache has it then
		t.Fatal(err)
	}
	if err := os.RemoveAll(r.c.uv.Tools()); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(r.c.uv.Tools(), 0o700); err != nil {
		t.Fatal(err)
	}
	testkit.MountTmpfs(t, r.c.uv.Tools(), "30m")
	_, err := r.ready(t.Context(), r.c.uv.Tools(), func(builder.Stage) {})
	if b := buildError(t, err); b.Cause != builder.CauseDiskFull {
		t.Errorf("%+v", b)
	}
}

func TestWithoutUVTheCauseIsTold(t *testing.T) {
	r := bareRattler(t)
	r.c.uv.Environ, r.c.uv.Elsewhere = []string{"PATH=/nowhere", "HOME=" + t.TempDir()}, nil
	b := buildError(t, r.create(t.Context(), r.Env("a"), r.job(t, "/nowhere", "python")))
	if b.Cause != builder.CauseToolMissing || !strings.HasPrefix(b.Message, "rattler "+RattlerVersion()+", which makes conda environments") ||
		!strings.Contains(b.Message, "uv is not on this machine") {
		t.Errorf("%+v", b)
	}
}

func TestRattlerNeedsANewerPythonThanTheKernel(t *testing.T) {
	s := testkit.New(t)
	s.Write("pythons", strings.ReplaceAll(s.Took("pythons"), "3.13.1", "3.9.18"))
	s.Write("version", "3.9.18\n")
	s.Write("fail.install", "error: Failed to download https://host/python.tar.gz")
	r := newRattler(New(s.State, Config{}, scriptedUV(s), s.Variables, zap.NewNop()))
	_, err := r.ready(t.Context(), r.c.uv.Tools(), func(builder.Stage) {})
	want := "python_missing: rattler, which makes conda environments, needs Python >= 3.10, and uv could not find or fetch one"
	if got := condaSummary(err); got != want {
		t.Error(got)
	}
	if got := s.Calls("-"); !strings.Contains(got, "python install 3.13") {
		t.Error(got)
	}
}

func TestWhatRattlerNeedsIsTold(t *testing.T) {
	lacks := "rattler " + RattlerVersion() + ", which makes conda environments, cannot be had: "
	for _, c := range []struct {
		was  builder.Error
		want builder.Error
	}{
		{builder.Error{Cause: builder.CausePythonMissing, Message: "needs Python 3.13", Hint: "name it as python of the pool"}, builder.Error{
			Cause: builder.CausePythonMissing, Message: "rattler, which makes conda environments, needs Python >= 3.10, and uv could not find or fetch one",
			Hint: "install Python >= 3.10, or micromamba, mamba or conda", Package: "", Output: "", Machine: false,
		}},
		{builder.Error{Cause: builder.CausePackageNotFound, Message: "the package py-rattler is not in the index", Package: "py-rattler"}, builder.Error{
			Cause: builder.CausePackageNotFound, Message: lacks + "the package py-rattler is not in the index",
			Hint: "uv.index_url must name an index that has py-rattler; or install micromamba, mamba or conda", Package: "", Output: "", Machine: false,
		}},
		{builder.Error{Cause: builder.CauseNetwork, Message: "the package index cannot be reached", Hint: "check it", Output: "refused"}, builder.Error{
			Cause: builder.CauseNetwork, Message: lacks + "the package index cannot be reached",
			Hint: "check it", Package: "", Output: "refused", Machine: false,
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
	c := New(t.TempDir(), Config{}, nil, environ, zap.NewNop())
	got := c.ChildEnv()
	slices.Sort(got)
	want := slices.Sorted(slices.Values(environ[:7]))
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
