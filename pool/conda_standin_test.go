package pool

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
)

// condaStandin is a Conda whose tools are scripts that do as the files beside them say.
type condaStandin struct {
	*toolKit
	conda *Conda
}

// newCondaStandin has these tools on PATH, and the Conda that uses that provider.
func newCondaStandin(t *testing.T, provider string, tools ...string) *condaStandin {
	t.Helper()
	s := newToolKit(t)
	s.script("conda.sh", "testdata/conda.sh")
	for _, tool := range tools {
		from := "testdata/micromamba.sh"
		if tool == ProviderConda {
			from = "testdata/conda.sh"
		}
		s.script(tool, from)
	}
	c := NewConda(s.state, CondaConfig{Provider: provider}, scriptedUV(s), s.variables, zap.NewNop())
	c.elsewhere = nil
	return &condaStandin{s, c}
}

// create has the provider make an environment, and returns where.
func (s *condaStandin) create(job condaJob) (dir string, err error) {
	s.Helper()
	provider, err := s.conda.provider(s.Context(), "")
	if err != nil {
		s.Fatal(err)
	}
	if job.channels == nil {
		job.channels = []string{"https://conda.example/forge"}
	}
	if job.progress == nil {
		job.progress = func(Stage) {}
	}
	dir = filepath.Join(s.state, "envs", "conda-"+strings.ReplaceAll(filepath.Base(s.TempDir()), "/", ""))
	return dir, provider.create(s.Context(), dir, job)
}

// solved are the specs of a job that asks the channels, and where its lock file goes.
func (s *condaStandin) solved(specs ...string) condaJob {
	return condaJob{specs: append([]string{"python=3.13"}, specs...), to: filepath.Join(s.TempDir(), "lock")}
}

// condaSummary is the cause and the message of a failure.
func condaSummary(err error) string {
	var b *BuildError
	if !errors.As(err, &b) {
		return "no BuildError"
	}
	return b.Cause + ": " + b.Message
}

// scriptedUV is the UV that uses these tools.
func scriptedUV(k *toolKit) *UV {
	u := NewUV(k.state, UVConfig{}, k.variables, zap.NewNop())
	u.elsewhere = nil
	return u
}
