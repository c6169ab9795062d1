package conda

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"runtimed/internal/project"
	"runtimed/internal/testkit"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// projectIn is a project with one file of that kind.
func projectIn(t *testing.T, kind, text string) *project.Project {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	testkit.Check(t, err)
	testkit.Check(t, os.WriteFile(filepath.Join(dir, kind), []byte(text), 0o644))
	p, err := project.Find(project.Request{Path: dir})
	testkit.Check(t, err)
	return p
}

func TestNeedsAreMatchSpecsAndRequirements(t *testing.T) {
	for python, want := range map[string]string{
		"": "python", "3.12": "python=3.12", ">=3.11,<3.14": "python>=3.11,<3.14",
	} {
		w, err := wants(builder.Spec{Python: python, Packages: []string{"numpy>=2", "pypi:rich"},
			Channels: []string{"x"}})
		testkit.Check(t, err)
		if !slices.Equal(w.specs, []string{want, "numpy>=2"}) || !slices.Equal(w.pypi, []string{"rich"}) ||
			!slices.Equal(w.channels, []string{"x"}) || w.extra != nil {
			t.Errorf("%q: %+v", python, w)
		}
	}
}

func TestAnEnvironmentFileIsSolvedBeforeWhatIsAdded(t *testing.T) {
	p := projectIn(t, project.Environment,
		"channels: [./local, conda-forge]\ndependencies: ['python=3.12', numpy, {pip: [rich]}]\n")
	w, err := wants(builder.Spec{Project: p, Packages: []string{"scipy", "pypi:six"}, Channels: []string{"pools"}})
	testkit.Check(t, err)
	if !slices.Equal(w.specs, []string{"python=3.12", "numpy", "pip"}) ||
		!slices.Equal(w.extra, []string{"python", "scipy"}) || !slices.Equal(w.pypi, []string{"six"}) ||
		!slices.Equal(w.channels, []string{filepath.Join(p.Path, "local"), "conda-forge"}) {
		t.Errorf("%+v", w)
	}
	if w.job(&rattler{}).kernel {
		t.Error("the kernel comes before the packages of PyPI, which may bring it")
	}
	if !w.job(condaProgram{}).kernel {
		t.Error("what solves once has no kernel")
	}

	p = projectIn(t, project.Environment, "dependencies: ['conda-forge::pip>=24']\n")
	w, err = wants(builder.Spec{Project: p, Channels: []string{"pools"}})
	testkit.Check(t, err)
	if !slices.Equal(w.specs, p.Specs) || !slices.Equal(w.channels, []string{"pools"}) || !w.job(&rattler{}).kernel {
		t.Errorf("%+v", w)
	}
}

func TestTheNameOfAMatchSpecIsFound(t *testing.T) {
	for spec, want := range map[string]string{
		"pip": "pip", "pip=24": "pip", "Pip >=24": "pip", "conda-forge::pip[version='>=24']": "pip",
		"pip-tools": "pip-tools",
	} {
		if got := specName(spec); got != want {
			t.Errorf("%s: %s", spec, got)
		}
	}
}

func TestTheChannelsThatCondaCallsDefaultsAreNamed(t *testing.T) {
	got := withDefaults([]string{"conda-forge", "defaults"})
	if len(got) < 3 || got[0] != "conda-forge" || got[1] != "main" {
		t.Errorf("%q", got)
	}
}

func TestAFailureOfAProjectNamesItsFile(t *testing.T) {
	w := wanted{project: &project.Project{File: "/p/environment.yml"}}
	for cause, says := range map[string]string{
		builder.CauseUnsatisfiable: "loosen the versions in environment.yml",
		builder.CauseAuth:          "and not yours",
	} {
		err := w.explain(&builder.Error{Cause: cause, Hint: "loosen the versions in the pool's packages"})
		b := buildError(t, err)
		if !strings.Contains(b.Hint, says) || b.Cause != cause {
			t.Errorf("%+v", b)
		}
	}
}

func TestAProgramSolvesAnEnvironmentFileWithTheKernel(t *testing.T) {
	s := newCondaStandin(t, ProviderMicromamba, ProviderMicromamba)
	p := projectIn(t, project.Environment, "channels: [c]\ndependencies: [numpy]\nvariables: {A: '1'}\n")
	spec := builder.Spec{Kind: builder.KindConda, Channels: []string{"pools"}, Project: p, Packages: []string{"scipy"},
		Base: &builder.Spec{Kind: builder.KindConda}}
	dir := filepath.Join(s.State, "envs", "conda-00000001")
	built, err := s.conda.Build(t.Context(), spec, dir, func(builder.Stage) {})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	calls, err := os.ReadFile(filepath.Join(s.Bin, "calls"))
	testkit.Check(t, err)
	if !strings.Contains(string(calls), "-c c ") || !strings.Contains(string(calls), "numpy python scipy ipykernel") {
		t.Errorf("%s", calls)
	}
	if v := built.Variables["A"]; v == nil || *v != "1" {
		t.Errorf("%v", v)
	}
	locks, _ := filepath.Glob(filepath.Join(s.State, "locks", "needs", "*"))
	if len(locks) != 1 {
		t.Errorf("%v", locks)
	}
	testkit.Check(t, s.conda.Verify(t.Context(), builder.Built{Python: built.Python, Variables: built.Variables,
		PathPrepend: built.PathPrepend, Packages: built.Packages}, s.finished(dir)))
}

// finished gives an environment the manifest of a finished one.
func (s *condaStandin) finished(dir string) string {
	s.Helper()
	testkit.Check(s.T, os.WriteFile(filepath.Join(dir, envdir.ManifestName), []byte("{}"), 0o600))
	return dir
}
