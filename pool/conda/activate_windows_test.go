package conda

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"runtimed/internal/testkit"
	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/uv"
)

func TestActivationSetsWhatBatchFilesAndRecordsSay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "an env (x86)")
	for name, text := range map[string]string{
		"etc/conda/env_vars.d/a.json": `{"FROM_PACKAGE": "one"}`,
		"etc/conda/activate.d/a_first.bat": "@echo noise\r\n@set \"ORDER=%ORDER% a\"\r\n" +
			"@set \"SAW=%FROM_PACKAGE%\"\r\n",
		"etc/conda/activate.d/b_then.bat": "@set \"ORDER=%ORDER% b\"\r\n" +
			"@set \"Path=%CONDA_PREFIX%\\tool;%PATH%\"\r\n@set LANG=\r\n",
	} {
		path := filepath.Join(dir, name)
		testkit.Check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		testkit.Check(t, os.WriteFile(path, []byte(text), 0o644))
	}
	state := t.TempDir()
	environ := append(os.Environ(), "LANG=de_DE.UTF-8", "conda_prefix=decoy")
	c := New(state, Config{}, uv.New(state, uv.Config{}, environ, zap.NewNop()), environ, zap.NewNop())
	act, err := c.activation(t.Context(), dir)
	testkit.Check(t, err)
	for name, want := range map[string]string{"ORDER": " a b", "SAW": "one", "FROM_PACKAGE": "one",
		"CONDA_PREFIX": dir} {
		if got := act.Variables[name]; got == nil || *got != want {
			t.Errorf("%s is %v", name, got)
		}
	}
	if v, ok := act.Variables["LANG"]; v != nil || !ok {
		t.Errorf("LANG stays: %v", v)
	}
	if v, ok := act.Variables["PROMPT"]; ok {
		t.Errorf("cmd's own PROMPT is set too: %v", v)
	}
	want := append([]string{filepath.Join(dir, "tool")}, condaBins(dir)...)
	if strings.Join(act.PathPrepend, ";") != strings.Join(want, ";") {
		t.Errorf("%q", act.PathPrepend)
	}
}

func TestABatchFileThatEndsTheShellFailsTheBuild(t *testing.T) {
	for _, end := range []string{"exit 3", "exit 0"} {
		dir := prefix(t, map[string]string{"etc/conda/activate.d/a.bat": "@echo it is over\r\n@" + end + "\r\n"})
		_, err := condaIn(t, os.Environ()...).activation(t.Context(), dir)
		if builder.CauseOf(err) != builder.CauseVerifyFailed ||
			!strings.Contains(err.(*builder.Error).Output, "it is over") {
			t.Errorf("%s: %v", end, err)
		}
	}
}

func TestScriptsOfAnotherFolderAreNotRunForAnEnvironment(t *testing.T) {
	state, elsewhere := t.TempDir(), t.TempDir()
	environ := append(os.Environ(), "CONDA_PREFIX="+filepath.Join(state, "not", "there")) // as a share is for cmd
	testkit.Check(t, os.WriteFile(filepath.Join(elsewhere, "theirs.bat"), []byte("@echo run>ran.txt\r\n"), 0o600))
	c := New(state, Config{}, uv.New(state, uv.Config{}, environ, zap.NewNop()), environ, zap.NewNop())
	argv, err := c.runScripts("")
	testkit.Check(t, err)
	done, err := tool.Run(t.Context(), tool.Command{Argv: argv, Dir: elsewhere, Env: environ})
	if err == nil || len(done.Stdout) > 0 {
		t.Errorf("%v, %q", err, done.Stdout)
	}
	if _, err := os.Stat(filepath.Join(elsewhere, "ran.txt")); err == nil {
		t.Error("a script of another folder was run")
	}
}
