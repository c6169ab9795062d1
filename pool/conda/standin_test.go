package conda

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
	"runtimed/pool/uv"
)

// condaStandin is a Conda whose tools are scripts that do as the files beside them say.
type condaStandin struct {
	*testkit.Kit
	conda *Builder
}

// newCondaStandin has these tools on PATH, and the Conda that uses that provider.
func newCondaStandin(t *testing.T, provider string, tools ...string) *condaStandin {
	t.Helper()
	s := testkit.New(t)
	s.Script("conda.sh", "conda.sh")
	for _, tool := range tools {
		from := "micromamba.sh"
		if tool == ProviderConda {
			from = "conda.sh"
		}
		s.Script(tool, from)
	}
	c := New(s.State, Config{Provider: provider}, scriptedUV(s), s.Variables, zap.NewNop())
	c.Elsewhere = nil
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
		job.progress = func(builder.Stage) {}
	}
	dir = filepath.Join(s.State, "envs", "conda-"+strings.ReplaceAll(filepath.Base(s.TempDir()), "/", ""))
	return dir, provider.create(s.Context(), dir, job)
}

// solved are the specs of a job that asks the channels, and where its lock file goes.
func (s *condaStandin) solved(specs ...string) condaJob {
	return condaJob{specs: append([]string{"python=3.13"}, specs...), to: filepath.Join(s.TempDir(), "lock")}
}

// condaSummary is the cause and the message of a failure.
func condaSummary(err error) string {
	var b *builder.Error
	if !errors.As(err, &b) {
		return "no BuildError"
	}
	return b.Cause + ": " + b.Message
}

// scriptedUV is the UV that uses these tools.
func scriptedUV(k *testkit.Kit) *uv.Builder {
	u := uv.New(k.State, uv.Config{}, k.Variables, zap.NewNop())
	u.Elsewhere = nil
	return u
}
