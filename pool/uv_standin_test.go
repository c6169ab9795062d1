package pool

import (
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
)

// standin is a UV whose uv and Python are scripts.
type standin struct {
	*toolKit
	*UV
}

func newStandin(t *testing.T, environ ...string) *standin {
	t.Helper()
	return withUV(newToolKit(t, environ...))
}

// withUV is the UV that uses these tools.
func withUV(k *toolKit) *standin {
	s := &standin{k, NewUV(k.state, UVConfig{}, k.variables, zap.NewNop())}
	s.elsewhere = nil
	return s
}

// build builds one environment and returns where.
func (s *standin) build(spec Spec) (dir string, built Built, err error) {
	s.Helper()
	dir = filepath.Join(s.state, "envs", "uv-"+strings.ReplaceAll(filepath.Base(s.TempDir()), "/", ""))
	built, err = s.Build(s.Context(), spec, dir, func(Stage) {})
	return dir, built, err
}

func wanting(packages ...string) Spec { return Spec{Kind: KindUV, Packages: packages} }
