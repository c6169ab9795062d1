package conda

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
	"runtimed/pool/uv"
)

// prefix is the folder of a conda environment with files in it.
func prefix(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "an env")
	for name, text := range files {
		path := filepath.Join(dir, name)
		testkit.Check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		testkit.Check(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return dir
}

// condaIn is a Conda that builds nothing.
func condaIn(t *testing.T, environ ...string) *Builder {
	t.Helper()
	environ = append([]string{"PATH=/usr/bin:/bin", "HOME=" + t.TempDir()}, environ...)
	dir := t.TempDir()
	return New(dir, Config{}, uv.New(dir, uv.Config{}, environ, zap.NewNop()), environ, zap.NewNop())
}

// shown is the activation as text; what every environment has is left out.
func shown(act builder.Activation) map[string]string {
	vars := map[string]string{}
	for name, value := range act.Variables {
		switch {
		case name == "CONDA_PREFIX", name == "CONDA_DEFAULT_ENV", name == "CONDA_SHLVL":
		case value == nil:
			vars[name] = "(out)"
		default:
			vars[name] = *value
		}
	}
	return vars
}

func TestActivationSetsWhatPackagesScriptsAndRecordsSay(t *testing.T) {
	ofShell(t)
	dir := prefix(t, map[string]string{
		"etc/conda/env_vars.d/a.json": `{"FROM_PACKAGE": "one", "OVERRIDDEN": "by nobody", "GONE": "soon"}`,
		"conda-meta/state": `{"version": 1, "env_vars": {"OVERRIDDEN": "by the state", "GONE": ` +
			`"***unset***"}}`,
		"etc/conda/activate.d/a_first.sh": `echo noise
export ORDER="$ORDER a" PREFIX_SEEN="$CONDA_PREFIX" SAW="$FROM_PACKAGE$OVERRIDDEN"; local_only=1`,
		"etc/conda/activate.d/b_then.sh": `export ORDER="$ORDER b" PATH="$CONDA_PREFIX/lib/tool:$PATH" MULTI="one` +
			"\n" + `two"; unset LANG; return 0`,
		"etc/conda/activate.d/c_fails.sh": `false`,
		"etc/conda/activate.d/d.fish":     `export NEVER=1`,
	})
	act, err := condaIn(t, "LANG=de_DE.UTF-8", "CONDA_PREFIX=/decoy", "PYTHONPATH=/decoy").activation(t.Context(), dir)
	testkit.Check(t, err)
	want := map[string]string{
		"FROM_PACKAGE": "one", "OVERRIDDEN": "by the state", "GONE": "(out)", "ORDER": " a b", "PREFIX_SEEN": dir,
		"SAW":   "oneby the state",
		"MULTI": "one\ntwo", "LANG": "(out)", "VIRTUAL_ENV": "(out)", "PYTHONHOME": "(out)",
		"CONDA_PROMPT_MODIFIER": "(out)", "PYTHONNOUSERSITE": "1",
	}
	got := shown(act)
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %q, want %q", name, got[name], value)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("and beside that: %v", got)
	}
	for name, value := range map[string]string{"CONDA_PREFIX": dir, "CONDA_DEFAULT_ENV": dir, "CONDA_SHLVL": "1"} {
		if v := act.Variables[name]; v == nil || *v != value {
			t.Errorf("%s: %v", name, v)
		}
	}
	if path := strings.Join(act.PathPrepend, ":"); path != dir+"/lib/tool:"+dir+"/bin" {
		t.Errorf("before PATH: %s", path)
	}
}

// ofShell ends a test whose scripts are of sh.
func ofShell(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("scripts are batch files here; activate_windows_test.go has some")
	}
}

func TestWithoutScriptsNoShellIsNeeded(t *testing.T) {
	dir := prefix(t, map[string]string{"conda-meta/history": ""})
	act, err := condaIn(t, "PATH=/nowhere").activation(t.Context(), dir)
	if err != nil || !slices.Equal(act.PathPrepend, condaBins(dir)) {
		t.Errorf("%+v, %v", act, err)
	}
}

func TestARecordThatCannotBeReadFailsTheBuildAndIsNamed(t *testing.T) {
	dir := prefix(t, map[string]string{"etc/conda/env_vars.d/odd.json": "{"})
	_, err := condaIn(t).activation(t.Context(), dir)
	if builder.CauseOf(err) != builder.CauseVerifyFailed || !strings.Contains(err.Error(), "odd.json") {
		t.Errorf("%v", err)
	}
}

func TestAScriptThatEndsTheShellFailsTheBuildWithItsLastLines(t *testing.T) {
	ofShell(t)
	for _, end := range []string{"exit 3", "exit 0", "exec true"} {
		dir := prefix(t, map[string]string{"etc/conda/activate.d/a.sh": "echo it is over; " + end})
		_, err := condaIn(t).activation(t.Context(), dir)
		if builder.CauseOf(err) != builder.CauseVerifyFailed ||
			!strings.Contains(err.(*builder.Error).Output, "it is over") {
			t.Errorf("%s: %v", end, err)
		}
	}
}
