package command

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"runtimed/internal/failure"
	"runtimed/internal/testkit"
)

func TestWhatCannotBeRunIsNamedForWhatItIs(t *testing.T) {
	t.Chdir(t.TempDir())
	testkit.Check(t, errors.Join(os.Mkdir("folder.py", 0o700), os.WriteFile("script.PY", nil, 0o600)))
	for name, want := range map[string]struct {
		code       int
		says, hint string
	}{
		"folder.py":  {failure.NotExecutable, "folder.py is a folder, not a script", "runt run -- python folder.py"},
		"script.PY":  {failure.NotFound, "command not found", "runt run -- python script.PY"},
		"missing.PY": {failure.NotFound, "there is no such script", ""},
		"missing":    {failure.NotFound, "command not found", ""},
	} {
		f := CannotRun(name, fs.ErrNotExist)
		if f.Code != want.code || !strings.Contains(f.Error(), want.says) || !strings.Contains(f.Hint, want.hint) {
			t.Errorf("%s: %d, %v (%s)", name, f.Code, f, f.Hint)
		}
	}
}
