package conda

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
)

func TestWithoutUVTheCauseIsTold(t *testing.T) {
	r := bareRattler(t)
	r.c.uv.Environ, r.c.uv.Elsewhere = []string{"PATH=/nowhere", "HOME=" + t.TempDir()}, nil
	b := buildError(t, r.create(t.Context(), r.Env("a"), r.job(t, "/nowhere", "python")))
	if b.Cause != builder.CauseToolMissing ||
		!strings.HasPrefix(b.Message, "rattler "+RattlerVersion()+", which makes conda environments") ||
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
	want := "python_missing: rattler, which makes conda environments, needs Python >= 3.10, and uv could not find " +
		"or fetch one"
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
		{builder.Error{Cause: builder.CausePythonMissing, Message: "needs Python 3.13",
			Hint: "name it as python of the pool"}, builder.Error{
			Cause: builder.CausePythonMissing,
			Message: "rattler, which makes conda environments, needs Python >= 3.10, " +
				"and uv could not find or fetch one",
			Hint: "install Python >= 3.10, or micromamba, mamba or conda", Package: "", Output: "", Machine: false,
		}},
		{builder.Error{Cause: builder.CausePackageNotFound, Message: "the package py-rattler is not in the index",
			Package: "py-rattler"}, builder.Error{
			Cause: builder.CausePackageNotFound, Message: lacks + "the package py-rattler is not in the index",
			Hint:    "uv.index_url must name an index that has py-rattler; or install micromamba, mamba or conda",
			Package: "", Output: "", Machine: false,
		}},
		{builder.Error{Cause: builder.CauseNetwork, Message: "the package index cannot be reached", Hint: "check it",
			Output: "refused"}, builder.Error{
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
		"HOME=/h", "CONDARC=/c", "MAMBARC=/m", "CONDA_PKGS_DIRS=/p", "CONDA_OVERRIDE_CUDA=12", "RATTLER_AUTH_FILE=/a",
		"SSL_CERT_FILE=/s",
		"CONDA_PREFIX=/decoy", "CONDA_DEFAULT_ENV=base", "MAMBA_ROOT_PREFIX=/decoy", "PYTHONPATH=/decoy",
		"RATTLER_CACHE_DIR=/decoy",
	}
	c := New(t.TempDir(), Config{}, nil, environ, zap.NewNop())
	got := c.ChildEnv()
	slices.Sort(got)
	want := slices.Sorted(slices.Values(environ[:7]))
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
