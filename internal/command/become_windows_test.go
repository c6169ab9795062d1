package command

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"runtimed/internal/testkit"
)

func TestACommandIsLookedForInThePathAlone(t *testing.T) {
	here, path := t.TempDir(), t.TempDir()
	t.Chdir(here)
	t.Setenv("PATH", "")
	for _, at := range []string{filepath.Join(here, "tool.bat"), filepath.Join(path, "tool.exe"),
		filepath.Join(here, "mine.bat")} {
		testkit.Check(t, os.WriteFile(at, nil, 0o700))
	}
	before := os.Environ()
	if got, err := LookUp("tool", path); err != nil || got != filepath.Join(path, "tool.exe") {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := LookUp("mine", path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := LookUp(`.\mine`, path); err != nil || !strings.EqualFold(got, `.\mine.bat`) {
		t.Errorf("%q, %v", got, err)
	}
	testkit.Check(t, os.Setenv("PATH", ""))
	if after := os.Environ(); strings.Join(after, "\n") != strings.Join(before, "\n") {
		t.Errorf("other variables: %q", after)
	}
}
