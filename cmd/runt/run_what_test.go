package main

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
)

func TestWhatCannotBeRunIsNamedForWhatItIs(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := errors.Join(os.Mkdir("folder.py", 0o700), os.WriteFile("script.PY", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		code       int
		says, hint string
	}{
		"folder.py":  {exitNotExecutable, "folder.py is a folder, and no script", "runt run -- python folder.py"},
		"script.PY":  {exitNotFound, "command not found", "runt run -- python script.PY"},
		"missing.PY": {exitNotFound, "there is no such script", ""},
		"missing":    {exitNotFound, "command not found", ""},
	} {
		f := cannotRun(name, fs.ErrNotExist)
		if f.code != want.code || !strings.Contains(f.Error(), want.says) || !strings.Contains(f.hint, want.hint) {
			t.Errorf("%s: %d, %v (%s)", name, f.code, f, f.hint)
		}
	}
}
