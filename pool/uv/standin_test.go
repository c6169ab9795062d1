package uv

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/zap"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
)

// standin is a UV whose uv and Python are scripts.
type standin struct {
	*testkit.Kit
	*Builder
}

func newStandin(t *testing.T, environ ...string) *standin {
	t.Helper()
	return withUV(testkit.New(t, environ...))
}

// withUV is the UV that uses these tools.
func withUV(k *testkit.Kit) *standin {
	s := &standin{k, New(k.State, Config{}, k.Variables, zap.NewNop())}
	s.Elsewhere = nil
	return s
}

// build builds one environment and returns where.
func (s *standin) build(spec builder.Spec) (dir string, built builder.Built, err error) {
	s.Helper()
	dir = filepath.Join(s.State, "envs", "uv-"+strings.ReplaceAll(filepath.Base(s.TempDir()), "/", ""))
	built, err = s.Build(s.Context(), spec, dir, func(builder.Stage) {})
	return dir, built, err
}

func wanting(packages ...string) builder.Spec {
	return builder.Spec{Kind: builder.KindUV, Packages: packages}
}

// ofManyBuilds ends a test that makes dozens of environments.
func ofManyBuilds(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" && os.Getenv("RUNTIMED_SOAK") == "" {
		t.Skip("it takes minutes where programs start slowly; it runs with RUNTIMED_SOAK=1")
	}
}
