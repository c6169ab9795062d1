package conda

import (
	"errors"
	"os"
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

// bareRattler is a rattler as the daemon has it, with a state directory and a HOME of its own.
func bareRattler(t *testing.T, environ ...string) *rattler {
	t.Helper()
	state, err := filepath.EvalSymlinks(t.TempDir())
	testkit.Check(t, err)
	// where conda_channel.py puts uv if there is none
	path := os.Getenv("PATH") + ":" + filepath.Join(testkit.KeptTools(t), "uv", "bin")
	environ = append([]string{
		"HOME=" + t.TempDir(), "PATH=" + path, "UV_CACHE_DIR=" + filepath.Join(testkit.KeptTools(t), "uv-cache"),
		"PYTHONHOME=/decoy", "CONDA_PREFIX=/decoy", "VIRTUAL_ENV=/decoy",
	}, environ...)
	return newRattler(New(state, Config{Provider: ProviderRattler}, uv.New(state, uv.Config{}, environ, zap.NewNop()),
		environ, zap.NewNop()))
}

// job is one that writes a lock file.
func (r *rattler) job(t *testing.T, channel string, specs ...string) condaJob {
	t.Helper()
	return condaJob{specs: specs, channels: []string{channel}, to: filepath.Join(t.TempDir(), "lock"),
		progress: func(builder.Stage) {}}
}

// Env is where an environment may be made.
func (r *rattler) Env(id string) string { return filepath.Join(r.c.dir, "envs", id) }

func buildError(t *testing.T, err error) *builder.Error {
	t.Helper()
	var b *builder.Error
	if !errors.As(err, &b) {
		t.Fatalf("%v is no BuildError", err)
	}
	return b
}
